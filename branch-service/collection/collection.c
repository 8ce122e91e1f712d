#include "branch-service/collection/collection.h"

#include "branch-service/reasons.h"

/* Between two looks at a name its meaning may change; nobody does that for ever. */
enum { MAX_TURNS = 4 };

/* Stays inside: sends an operation the WAL way. */
#define REASON_IS_WAL_BRANCH "IS_WAL_BRANCH"

bool collection_is_wal(const char *branch, struct error *err)
{
    error_set(err, ERROR_UNAVAILABLE, "branch '%s' changed while the call was carried out", branch);
    err->outcome = OUTCOME_NOT_APPLIED;
    err->reason = REASON_IS_WAL_BRANCH;
    return false;
}

static bool has_reason(const struct error *err, const char *reason)
{
    return err->reason && strcmp(err->reason, reason) == 0;
}

void collection_begin(struct collection_way *way, struct registry *registry, const char *project_name, const char *branch,
                      const char *request_id)
{
    *way = (struct collection_way) { .kind = &wal_collection, .has_request_id = request_id && request_id[0] };
    if (way->has_request_id || strcmp(branch, MAIN_BRANCH) == 0)
        return;
    struct log_incarnation as_of;
    struct project *project = registry_peek(registry, project_name, &as_of);
    enum branch_kind kind;
    if (project && project_branch_kind(project, branch, &kind) && kind == BRANCH_TRADITIONAL)
        way->kind = &traditional_collection;
}

bool collection_go(struct collection_way *way, struct error *err)
{
    if (way->turns++ == 0)
        return true;
    if (way->ok)
        return false;
    if (way->kind == &wal_collection && has_reason(err, REASON_NEEDS_WAL_BRANCH)) {
        if (way->has_request_id) {
            error_prefix(err, "request_id");
            error_add_key(err, "request_id");
            return false;
        }
        way->kind = &traditional_collection;
        return way->turns <= MAX_TURNS;
    }
    if (way->kind == &traditional_collection && has_reason(err, REASON_IS_WAL_BRANCH)) {
        err->reason = NULL;
        way->kind = &wal_collection;
        return way->turns <= MAX_TURNS;
    }
    return false;
}
