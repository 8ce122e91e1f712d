// Checks a ServiceMonitor (JSON on standard input) against the schema of the Prometheus operator.
import { text } from "node:stream/consumers";
import { ServiceMonitor } from "@kubernetes-models/prometheus-operator/monitoring.coreos.com/v1/ServiceMonitor";

const monitor = JSON.parse(await text(process.stdin));
await new ServiceMonitor(monitor).validate();
console.log(`ServiceMonitor ${monitor.metadata.name}: valid`);
