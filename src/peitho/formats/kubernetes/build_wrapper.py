"""
The shell script around the peer's command in a build container; needs `sh` and `sleep`.

It says what the image lacks, and waits until the helper has fetched the uploads. Then it runs the
command unchanged, without the variables that the kubelet adds, keeps its output in files, and
writes down its exit code. If the helper asks for it, it packs in the end what Maven and Gradle
downloaded.
"""

from peitho.formats.kubernetes.names import VARIABLES_OF_THE_KUBELET

CONTROL = "/peitho"
# Where the helper has the directories that it shares with the build.
SHARED = "/shared"
# What the builder image lacks, `go` or nothing; READY is there once that is written.
LACKS = f"{CONTROL}/lacks"
READY = f"{CONTROL}/ready"
# Where the helper puts what Go compiled before, if the image lacks it and Peitho has it.
GO_CACHE = f"{CONTROL}/compiled/go"
# Where the helper puts what Maven and Gradle downloaded before, as it is below a home.
PACKAGES = f"{CONTROL}/packages"
# With KEEP the helper asks for what is downloaded; it is in PACKED, which is empty if it failed.
KEEP = f"{CONTROL}/keep"
PACKED = f"{CONTROL}/packed"
GO = f"{CONTROL}/go"
STARTED = f"{CONTROL}/started"
STDOUT = f"{CONTROL}/stdout"
STDERR = f"{CONTROL}/stderr"
EXIT = f"{CONTROL}/exit"
DONE = f"{CONTROL}/done"

# Releases by their coordinates, and the tools that the wrappers download; no settings, and nothing
# that a build made.  What says which version is the newest is asked for in each build, and locks,
# downloads broken off and what was not found are of that build alone.
_KEPT = (
    ".m2/repository",
    ".m2/wrapper/dists",
    ".gradle/caches/modules-2",
    ".gradle/wrapper/dists",
)
_NOT_KEPT = (
    *("name '*.lock'", "name '*.lck'", "name '*.part'", "name '*.tmp'", "name gc.properties"),
    *("name '*.lastUpdated'", "name 'maven-metadata*'", "name resolver-status.properties"),
    "path '*-SNAPSHOT/*'",
)

# A builder image may have a home with a warm compiler cache, which is left alone; under a user
# that it does not know the home is `/`, and npm fails on it.  Go writes the README into a cache.
WRAPPER = f"""\
[ -w "${{HOME:-/}}" ] || export HOME=/tmp
if [ -z "$GOCACHE" ] && [ ! -e "${{XDG_CACHE_HOME:-$HOME/.cache}}/go-build/README" ] &&
    command -v go > /dev/null 2>&1
then
    echo go > {LACKS}
else
    : > {LACKS}
fi
: > {READY}
until [ -e {GO} ]; do sleep 0.05 2>/dev/null || sleep 1; done
unset {" ".join(VARIABLES_OF_THE_KUBELET)}
[ ! -d {GO_CACHE} ] || export GOCACHE={GO_CACHE}
[ ! -d {PACKAGES} ] || cp -R {PACKAGES}/. "${{HOME:-/}}" > /dev/null 2>&1
: > {STDOUT}
: > {STDERR}
: > {STARTED}
"$@" > {STDOUT} 2> {STDERR}
code=$?
echo $code > {EXIT}
: > {DONE}
if [ $code = 0 ] && [ -e {KEEP} ] && cd "${{HOME:-/}}"
then
    find {" ".join(_KEPT)} -type f -cnewer {READY} \\
        {" ".join(f"! -{each}" for each in _NOT_KEPT)} 2> /dev/null |
        tar -cf {PACKED}.part -T - > /dev/null 2>&1 || : > {PACKED}.part
    mv {PACKED}.part {PACKED}
fi
exit $code
"""


def helper_path(path: str) -> str:
    """Where the helper has a directory of the build."""
    return f"{SHARED}{path}"
