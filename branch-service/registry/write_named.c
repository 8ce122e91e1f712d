#include "branch-service/registry/write_named.h"

#include "branch-service/write/write_internal.h"

bool write_named(struct registry *registry, const char *name, const struct write_request *request, write_evaluate_fn *evaluate, void *ctx,
                 struct project **project, struct write_result *result, struct error *err)
{
    struct write write;
    struct log_incarnation as_of;
    struct error ignored;
    uint64_t begun;
    write_begin(&write, request, evaluate, ctx);
    *project = registry_peek(registry, name, &as_of);
    if (*project && write_try_known(&write, *project, &as_of, result, &ignored))
        return true;
    if (!registry_find_begun(registry, name, request->deadline, project, &begun, err))
        return write.maybe_applied ? write_give_up(&write, err) : write_refuse(request, err);
    return write_finish(&write, *project, begun, result, err);
}
