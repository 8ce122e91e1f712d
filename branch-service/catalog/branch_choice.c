#include "branch-service/catalog/branch_choice.h"

#include "branch-service/reasons.h"

static bool refuse(const char *reason, struct error *err)
{
    error_set_reason(err, reason);
    return false;
}

bool branch_choose_kind(const struct features *features, enum kind_wish wish, const struct new_branch *branch, bool mongodb_configured,
                        bool *use_wal, struct error *err)
{
    struct wal_decision decision = { .use_wal = wish == KIND_WAL, .reason = "one is demanded" };
    if (wish == KIND_WAL && !features->enabled) {
        error_fill(err, ERROR_FAILED_PRECONDITION, "a WAL branch is demanded, but wal.enabled is false");
        return refuse(REASON_WAL_BRANCHES_OFF, err);
    }
    if (wish == KIND_BY_FLAGS)
        decision = should_use_wal(features, branch);
    if (!decision.use_wal && !mongodb_configured) {
        error_fill(err, ERROR_FAILED_PRECONDITION,
                   "this would be a traditional branch, since %s; for those branch-service has to be started with --mongodb URI",
                   decision.reason);
        return refuse(REASON_NEEDS_MONGODB, err);
    }
    *use_wal = decision.use_wal;
    return true;
}
