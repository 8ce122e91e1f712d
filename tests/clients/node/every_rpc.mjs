// Drives every RPC of both services from Node, as tests/clients/calls.json says.
//
//     node every_rpc.mjs CALLS WAL_ADDRESS BRANCH_ADDRESS PROTO_FOLDER
import fs from "node:fs";
import grpc from "@grpc/grpc-js";
import protoLoader from "@grpc/proto-loader";

const [callsFile, walAddress, branchAddress, protoFolder] = process.argv.slice(2);
const known = { name: "clients-node" };

const definition = protoLoader.loadSync(["argon/wal/v1/wal.proto", "argon/branch/v1/branch.proto"], {
  includeDirs: [protoFolder],
  longs: String,
  enums: String,
  bytes: String,
});
const packages = grpc.loadPackageDefinition(definition).argon;

const stubs = {};
const missing = new Set();
for (const [name, service] of Object.entries(definition)) {
  if (service.format) continue; // a message or an enum
  const [, kind, version, short] = name.split(".");
  const address = kind === "wal" ? walAddress : branchAddress;
  stubs[name] = new packages[kind][version][short](address, grpc.credentials.createInsecure());
  for (const method of Object.keys(service)) missing.add(`${name}/${method}`);
}
const total = missing.size;

// The value with ${NAME} replaced by what is known.
function fill(value) {
  if (typeof value === "string") return value.replace(/\$\{(\w+)\}/g, (_, name) => known[name]);
  if (Array.isArray(value)) return value.map(fill);
  if (value && typeof value === "object") return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, fill(item)]));
  return value;
}

// Everything that is expected is there; "*" is anything.
function matches(expected, actual) {
  if (expected === "*") return actual !== undefined && actual !== null;
  if (Array.isArray(expected))
    return Array.isArray(actual) && actual.length >= expected.length && expected.every((item, i) => matches(item, actual[i]));
  if (expected && typeof expected === "object")
    return !!actual && Object.entries(expected).every(([key, value]) => matches(value, actual[key]));
  return expected === actual;
}

function unary(stub, method, request, options) {
  return new Promise((resolve, reject) => stub[method](request, options, (error, answer) => (error ? reject(error) : resolve(answer))));
}

async function stream(stub, method, request, options, take) {
  const messages = [];
  const reader = stub[method](request, options);
  try {
    for await (const message of reader) {
      messages.push(message);
      if (messages.length === take) break;
    }
  } finally {
    reader.cancel();
  }
  return messages;
}

for (const call of JSON.parse(fs.readFileSync(callsFile, "utf8"))) {
  const [service, method] = call.method.split("/");
  missing.delete(call.method);
  const expected = fill(call.expect ?? {});
  const options = { deadline: Date.now() + 20000 };
  const run = Array.isArray(expected) ? stream : unary;
  let outcome = "OK";
  let answer;
  try {
    answer = await run(stubs[service], method, fill(call.request), options, call.take);
  } catch (error) {
    outcome = grpc.status[error.code];
    answer = error.details;
  }
  if (outcome !== (call.error ?? "OK") || (!call.error && !matches(expected, answer))) {
    console.error(`${call.method}: ${outcome}: expected ${call.error ?? JSON.stringify(expected)} and got ${JSON.stringify(answer)}`);
    process.exit(1);
  }
  for (const [variable, path] of Object.entries(call.save ?? {})) known[variable] = path.split(".").reduce((value, key) => value[key], answer);
}
if (missing.size) {
  console.error(`never called: ${[...missing]}`);
  process.exit(1);
}
console.log(`node: all ${total} methods answer`);
process.exit(0);
