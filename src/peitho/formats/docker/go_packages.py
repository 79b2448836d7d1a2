"""
The command by which Peitho compiles what Go chaincode has in common, in a builder image.

It is a build of Peitho's own: nothing that a peer sent is executed in it. Compiled is what
chaincode imports of the standard library, and what it vendors, where peers have it, since Go's
cache knows packages by their directory. The result is that cache; its names are digests of all that
went into each package (cmd/go/internal/work, buildActionID).
"""

from peitho.formats.records import ContainerSpec

# Where peers upload the source of each platform to (DockerBuildOptions since 1.0).
INPUT_DIRECTORY = "/chaincode/input"

# Without these Go would take orders from the source: which Go to download, what else to read, which
# version control to run.  A package with C would have a C compiler run with flags of its own. Go
# indexes directories by names, sizes and times alone (cmd/go/internal/modindex), which a source can
# choose, so it does not keep such an index here.
_SCRIPT = """\
set -ef
[ -z "$GOCACHE" ] || cp -R "$GOCACHE/." /chaincode/output
export GOCACHE=/chaincode/output GODEBUG=goindex=0 GO111MODULE=on
export GOTOOLCHAIN=local GOWORK=off GOENV=off GOPROXY=off GOVCS='*:off'
cd /tmp
go build bufio bytes compress/gzip context crypto/ecdsa crypto/rsa crypto/sha256 crypto/tls \\
    crypto/x509 encoding/base64 encoding/hex encoding/json encoding/pem errors flag fmt log \\
    math/big net/http net/http/httptrace os/signal regexp runtime/debug sort strconv strings \\
    sync text/template time unicode/utf8
flags=-mod=vendor
case $(go help build) in *-buildvcs*) flags="$flags -buildvcs=false" ;; esac
with_c='{{if not .Standard}}{{if or .CgoFiles .SwigFiles .SwigCXXFiles .SysoFiles}}C{{end}}{{end}}'
wanted='{{if .Standard}}{{.ImportPath}}{{else if .Module}}
{{- if not .Module.Main}}{{.ImportPath}}{{end}}{{end}}'
src=/chaincode/input/src
set +f
for module in $src/go.mod $src/*/go.mod $src/*/*/go.mod $src/*/*/*/go.mod
do
    set -f
    root=${module%/go.mod}
    [ -f "$module" ] && [ -d "$root/vendor" ] || continue
    cd "$root"
    found=$(go list $flags -deps -f "$with_c" ./...) && [ -z "$found" ] || break
    go build $flags -- $(go list $flags -deps -f "$wanted" ./...) || break
    break
done
"""


def spec(image: str) -> ContainerSpec:
    """The build that compiles in a builder image."""
    return ContainerSpec(image=image, command=("/bin/sh", "-c", _SCRIPT), entrypoint=(), env=())
