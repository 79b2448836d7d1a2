"""
Node.js chaincode with a native module, and what its build needs offline: npm 8, make, headers.

npm 8 and 9 have a node-gyp that leaves `build/node_gyp_bins/python3` behind, an absolute link. The
module keeps to Node-API, which is the same for each Node.js, so the headers are those of here.
"""

import io
import shutil
import tarfile
from pathlib import Path

from tests.lab.machine import CACHE, LabError, run

NPM = "npm@8.19.4"
_INPUT = "/chaincode/input"
# What a peer runs for Node.js (fabric/core/chaincode/platforms/node), with that npm.
BUILD = (
    f"cp -R {_INPUT}/src/. /chaincode/output && cd /chaincode/output && "
    f"PATH={_INPUT}/tools:$PATH CC=gcc CXX=gcc npm_config_nodedir={_INPUT}/tools/node "
    "HOME=/tmp "
    f"node {_INPUT}/tools/package/bin/npm-cli.js install --omit=dev --offline --no-audit"
)
SOURCE = {
    "package.json": '{"name": "chaincode", "version": "1.0.0", '
    '"dependencies": {"native": "file:native"}}',
    "index.js": 'console.log("native says", require("native")());',
    "native/package.json": '{"name": "native", "version": "1.0.0", "gypfile": true}',
    "native/index.js": 'module.exports = require("./build/Release/native.node");',
    "native/binding.gyp": '{"targets": [{"target_name": "native", "sources": ["native.c"]}]}',
    "native/native.c": """#include <node_api.h>

static napi_value answer(napi_env env, napi_callback_info info) {
  napi_value result;
  napi_create_int32(env, 42, &result);
  return result;
}

NAPI_MODULE_INIT() {
  napi_value function;
  napi_create_function(env, "answer", NAPI_AUTO_LENGTH, answer, NULL, &function);
  return function;
}
""",
}
_NOT_NEEDED = ("package/docs/", "package/man/")
_HEADERS = ("*.gypi", "node_api*.h", "js_native_api*.h")


def upload() -> bytes:
    """The archive of a build: the source as a peer sends it, and the tools beside it."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz", compresslevel=1) as archive:
        for name, content in SOURCE.items():
            _add(archive, f"src/{name}", content.encode())
        make = shutil.which("make")
        if not make:
            raise LabError("make is missing")
        archive.add(Path(make).resolve(), "tools/make")
        for header in _headers():
            archive.add(header, f"tools/node/include/node/{header.name}")
        with tarfile.open(_npm()) as npm:
            for member in npm:
                if member.isfile() and not member.name.startswith(_NOT_NEEDED):
                    file = npm.extractfile(member)
                    member.name = f"tools/{member.name}"
                    archive.addfile(member, file)
    return out.getvalue()


def _headers() -> list[Path]:
    node = shutil.which("node")
    found = Path(node).resolve().parents[1] / "include/node" if node else Path("/none")
    headers = [path for pattern in _HEADERS for path in found.glob(pattern)]
    if not headers:
        raise LabError("Node.js, or its include/node, is missing")
    return headers


def _npm() -> Path:
    path = CACHE / "npm" / f"{NPM.replace('@', '-')}.tgz"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        run(["npm", "pack", "-s", NPM, "--pack-destination", path.parent])
    return path


def _add(archive: tarfile.TarFile, name: str, content: bytes) -> None:
    header = tarfile.TarInfo(name)
    header.size = len(content)
    archive.addfile(header, io.BytesIO(content))
