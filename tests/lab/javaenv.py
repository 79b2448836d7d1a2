"""
What is in the stand-in of `fabric-javaenv`: JDK, Maven and Gradle of Debian, in Fabric's layout.

All is in the home of root, which has mode 0700, as in the real image. Pods have no network: Maven's
repository and Gradle's cache have what the tests' chaincode needs. Fabric's wrappers of Gradle and
Maven download those; these run Debian's.
"""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.lab.machine import run

CHAINCODE = Path(__file__).parent / "chaincode" / "java"
# What the real image's Dockerfile sets, as far as it is here.
HOME = "root/chaincode-java"

_PACKAGES = ("openjdk-17-jdk-headless", "maven", "gradle")
# Modules to link a JRE of, sources, and what people read.
_UNUSED = ("usr/lib/jvm/java-17-openjdk-amd64/jmods", "usr/share/doc", "usr/share/man")
_APT = ("var/cache/apt", "var/lib/apt/lists")
_TRUSTED = Path("/etc/ssl/certs/java/cacerts")

# As fabric-chaincode-docker/build.sh has it.
_BUILD = """#!/usr/bin/env bash
set -ex

INPUT_DIR=/chaincode/input
OUTPUT_DIR=/chaincode/output
TMP_DIR=$(mktemp -d)

buildGradle() {
    cd "$1"
    tar cf - . | (cd "${TMP_DIR}"; tar xf -)
    cd "${TMP_DIR}"
    echo "Gradle build"
    if [ -f ./gradlew ]; then
        chmod +x ./gradlew
        ./gradlew build shadowJar -x test
    else
        /root/chaincode-java/gradlew build shadowJar -x test
    fi
    cp build/libs/chaincode.jar "$2"
    touch "$2/.uberjar"
}

buildMaven() {
    cd "$1"
    tar cf - . | (cd "${TMP_DIR}"; tar xf -)
    cd "${TMP_DIR}"
    echo "Maven build"
    if [ -f ./mvnw ]; then
        chmod +x ./mvnw
    else
        cp -r /root/chaincode-java/.mvn .
        cp /root/chaincode-java/mvnw .
    fi
    ./mvnw compile package -DskipTests -Dmaven.test.skip=true
    cp target/chaincode.jar "$2"
    touch "$2/.uberjar"
}

for DIR in ${INPUT_DIR} ${INPUT_DIR}/src; do
    if [ -f "${DIR}/build.gradle" ] || [ -f "${DIR}/build.gradle.kts" ]; then
        buildGradle "${DIR}" "${OUTPUT_DIR}"
        exit 0
    elif [ -f "${DIR}/pom.xml" ]; then
        buildMaven "${DIR}" "${OUTPUT_DIR}"
        exit 0
    fi
done

>&2 echo "Not build.gradle nor pom.xml found in chaincode source, don't know how to build chaincode"
exit 255
"""
# As fabric-chaincode-docker/start has it.
_START = """#!/usr/bin/env bash
set -ex

ROOT_DIR=/root/chaincode-java
CHAINCODE_DIR=${ROOT_DIR}/chaincode
CHAINCODE_JARS=$(find ${CHAINCODE_DIR} -name "*.jar" | paste -s -d ":" -)
NUM_CHAINCODE_JARS=$(find ${CHAINCODE_DIR} -name "*.jar" | wc -l)

JAVA_OPTS="-XshowSettings"

if [ -f ${CHAINCODE_DIR}/.uberjar ]; then
    if [ "${NUM_CHAINCODE_JARS}" -ne 1 ]; then
        >&2 echo "Cannot start uber JAR as more than one JAR file was found"
        exit 255
    fi
    exec java ${JAVA_OPTS} -jar "${CHAINCODE_JARS}" "$@"
else
    exec java ${JAVA_OPTS} -cp "${CHAINCODE_JARS}:${ROOT_DIR}/lib/*" \\
        org.hyperledger.fabric.contract.ContractRouter "$@"
fi
"""
_SCRIPTS = {
    "build.sh": _BUILD,
    "start": _START,
    "gradlew": '#!/bin/sh\nexec gradle --offline --no-daemon "$@"\n',
    "mvnw": '#!/bin/sh\nexec mvn --offline --batch-mode "$@"\n',
}


def fill(merged: Path) -> None:
    """Turn a root of Debian into javaenv's."""
    with _network_and_processes(merged):
        run(["chroot", merged, "apt-get", "update", "-qq"])
        quietly = ["env", "DEBIAN_FRONTEND=noninteractive"]
        install = ["apt-get", "install", "-y", "-qq", "--no-install-recommends", *_PACKAGES]
        run(["chroot", merged, *quietly, *install])
        for folder in (*_APT, *_UNUSED):
            shutil.rmtree(merged / folder, ignore_errors=True)
        _write_scripts(merged / HOME)
        for build_file in ("pom.xml", "build.gradle"):
            _download(merged, build_file)
    (merged / "root").chmod(0o700)


def sources() -> str:
    """Changes with what the image is made of."""
    files = sorted(path for path in CHAINCODE.rglob("*") if path.is_file())
    return "".join(path.read_text() for path in (Path(__file__), *files))


def _write_scripts(folder: Path) -> None:
    (folder / "chaincode").mkdir(parents=True)
    (folder / ".mvn").mkdir()
    for name, script in _SCRIPTS.items():
        (folder / name).write_text(script)
        (folder / name).chmod(0o755)


def _download(merged: Path, build_file: str) -> None:
    """What a build of the chaincode downloads: it is made once, with a network, and dropped."""
    command = {
        "pom.xml": "mvn -q -B package -Dmaven.test.skip=true",
        "build.gradle": "gradle -q --no-daemon build shadowJar -x test",
    }[build_file]
    work = merged / "tmp/chaincode"
    shutil.copytree(CHAINCODE, work)
    trust = "-Djavax.net.ssl.trustStore=/tmp/chaincode/cacerts"
    # Where this machine has no Java, its image's own list has to do.
    shutil.copy(
        _TRUSTED if _TRUSTED.exists() else merged / _TRUSTED.relative_to("/"), work / "cacerts"
    )
    variables = ["HOME=/root", f"MAVEN_OPTS={trust}", f"GRADLE_OPTS={trust}"]
    run(["chroot", merged, "env", *variables, "sh", "-c", f"cd /tmp/chaincode && {command}"])
    shutil.rmtree(work)


@contextmanager
def _network_and_processes(merged: Path) -> Iterator[None]:
    """Java reads /proc, and trusts whom this machine trusts."""
    shutil.copy("/etc/resolv.conf", merged / "etc/resolv.conf")
    run(["mount", "-t", "proc", "proc", merged / "proc"])
    try:
        yield
    finally:
        run(["umount", merged / "proc"])
