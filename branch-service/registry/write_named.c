#include "branch-service/registry/write_named.h"

#include "branch-service/write/write_internal.h"

bool write_named(struct registry *registry, const char *name, const struct write_request *request, write_evaluate_fn *evaluate, void *ctx,
                 struct project **project, struct write_result *result, struct error *err)
{
    struct write write;
    struct error ignored;
    write_begin(&write, request, evaluate, ctx);
    if (registry_find_known(registry, name, request->deadline, project, &ignored) && write_try_known(&write, *project, result, &ignored))
        return true;
    if (!registry_find(registry, name, request->deadline, project, err))
        return write.maybe_applied ? write_give_up(&write, err) : write_refuse(request, err);
    return write_finish(&write, *project, result, err);
}
