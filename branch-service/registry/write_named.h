/* Writes to a project that is known by its name.
 *
 * The first try works on what this replica has, without asking the log: when its effect is guarded by the conflict
 * check and the log takes it, that was the only call to the WAL service. Everything else (no effect, an error,
 * an effect that depends on more than the keys it touches, a conflict) says nothing about the state of now, and goes
 * the ordinary way: resolve the name, refresh, look for the request, evaluate.
 *
 * Why that is safe: every batch reads the key of its project, so one that goes to a project that was deleted
 * (and perhaps created anew under the same name) is refused; it carries the incarnation under which its state was
 * learned, so one that goes to a replaced log is refused; and a request_id that was committed before is answered as
 * it was then.
 */
#ifndef ARGON_BRANCH_REGISTRY_WRITE_NAMED_H
#define ARGON_BRANCH_REGISTRY_WRITE_NAMED_H

#include "branch-service/registry/registry.h"

/* *project is set before each evaluation; it may change between two. Errors: write.h, registry_find. */
CHECKED bool write_named(struct registry *registry, const char *name, const struct write_request *request, write_evaluate_fn *evaluate,
                         void *ctx, struct project **project, struct write_result *result, struct error *err);

#endif
