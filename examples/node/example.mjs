// Argon from Node: a project, a branch that diverges, and what happened on it.
//
//     npm install && node example.mjs [PROTO_FOLDER]
import crypto from "node:crypto";
import { promisify } from "node:util";
import grpc from "@grpc/grpc-js";
import protoLoader from "@grpc/proto-loader";

const protoFolder = process.argv[2] ?? "../../proto";
const endpoint = process.env.ARGON_ENDPOINT ?? "127.0.0.1:7800";
const project = "example-node";

const definition = protoLoader.loadSync("argon/branch/v1/branch.proto", { includeDirs: [protoFolder], longs: String, enums: String });
const argon = grpc.loadPackageDefinition(definition).argon.branch.v1;
// a service that stops drops calls (docs/errors.md); this one is sent again, because it has a requestId
const retry = {
  methodConfig: [{
    name: [{ service: "argon.branch.v1.Documents", method: "UpdateMany" }],
    waitForReady: true,
    retryPolicy: {
      maxAttempts: 5, initialBackoff: "0.1s", maxBackoff: "2s", backoffMultiplier: 2,
      retryableStatusCodes: ["UNAVAILABLE", "CANCELLED"],
    },
  }],
};
const credentials = grpc.credentials.createInsecure();
const projects = new argon.Projects(endpoint, credentials);
const branches = new argon.Branches(endpoint, credentials);
const documents = new argon.Documents(endpoint, credentials, { "grpc.service_config": JSON.stringify(retry) });

const call = (service, method, request) => promisify(service[method].bind(service))(request);
const on = (branch) => ({ project, branch, collection: "items" });
const json = (value) => ({ json: JSON.stringify(value) });

async function show(branch) {
  console.log(`items on ${branch}:`);
  for await (const page of documents.Find({ target: on(branch), format: "FORMAT_RELAXED_JSON" }))
    for (const document of page.documents) console.log(" ", document.json);
}

await call(projects, "DeleteProject", { name: project }).catch((error) => {
  if (error.code !== grpc.status.NOT_FOUND) throw error;
});
await call(projects, "CreateProject", { name: project });
await call(documents, "InsertMany", { target: on("main"), documents: [json({ _id: "tea", price: 3 }), json({ _id: "cup", price: 5 })] });

// a branch costs one small record, however much there is
const created = await call(branches, "CreateBranch", { project, name: "sale" });

// repeated with the same requestId, on any replica, it has one effect: gRPC sends it again by `retry`
const updated = await call(documents, "UpdateMany", {
  target: on("sale"),
  filter: json({}),
  update: json({ $inc: { price: -1 } }),
  write: { requestId: crypto.randomUUID(), sinceLsn: created.lsn, actor: "example" },
});
console.log(`${updated.modified} items are cheaper on sale`);
await show("main");
await show("sale");

// what has changed on the branch since it was made
console.log("changes on sale:");
const watch = branches.Watch({ project, branch: "sale", afterLsn: created.branch.baseLsn, stopAtHead: true, format: "FORMAT_RELAXED_JSON" });
for await (const message of watch)
  for (const change of message.changes ?? []) console.log(`  LSN ${change.lsn} by ${change.actor}: ${change.document?.json}`);
for (const service of [projects, branches, documents]) service.close();
