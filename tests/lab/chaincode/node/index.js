'use strict';

const fs = require('fs');
const shim = require('fabric-shim');

const functions = {
  put: async (stub, [key, value]) => stub.putState(key, Buffer.from(value)),
  get: async (stub, [key]) => stub.getState(key),
  env: async (_stub, [name]) => Buffer.from(process.env[name] ?? ''),
  args: async () => Buffer.from(process.argv.join('\n')),
  file: async (_stub, [path]) => fs.readFileSync(path),
  exit: async (_stub, [code]) => process.exit(Number(code)),
};

class LabNode {
  async Init() {
    return shim.success();
  }

  async Invoke(stub) {
    const { fcn, params } = stub.getFunctionAndParameters();
    try {
      if (!Object.hasOwn(functions, fcn)) {
        throw new Error(`there is no function "${fcn}"`);
      }
      return shim.success(await functions[fcn](stub, params));
    } catch (error) {
      return shim.error(error.message);
    }
  }
}

console.log('labnode starting, args', process.argv.slice(2).join(' '));
shim.start(new LabNode());
