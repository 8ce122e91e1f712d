#include "branch-service/collection/traditional.h"

#include "branch-service/collection/collection.h"
#include "branch-service/migration/standstill.h"
#include "branch-service/reasons.h"
#include "common/base/backoff.h"
#include "common/base/clock.h"

/* A migration stands still for less than a second. */
enum { FROZEN_BACKOFF_MICROS = 5000, MAX_FROZEN_TRIES = 4 };

int64_t traditional_limit(const struct branch_record *record)
{
    return record->state == BRANCH_PREPARING ? TRADITIONAL_PREPARING_MICROS : TRADITIONAL_LIMIT_MICROS;
}

bool traditional_mongo(struct registry *registry, struct mongo **mongo, struct error *err)
{
    *mongo = registry_mongo(registry);
    if (*mongo)
        return true;
    error_set(err, ERROR_FAILED_PRECONDITION, "traditional branches need a MongoDB: start branch-service with --mongodb URI");
    error_set_reason(err, REASON_NEEDS_MONGODB);
    return false;
}

bool traditional_refuse_option(const char *branch, const char *option, struct error *err)
{
    error_set(err, ERROR_FAILED_PRECONDITION, "%s: branch '%s' is traditional: this needs a WAL branch", option, branch);
    error_set_reason(err, REASON_NEEDS_WAL_BRANCH);
    error_add_key(err, "%s", option);
    err->outcome = OUTCOME_NOT_APPLIED;
    return false;
}

bool traditional_check_state(const struct branch_record *record, struct error *err)
{
    switch (record->state) {
    case BRANCH_READY:
        return true;
    case BRANCH_CREATING:
        return error_set(err, ERROR_FAILED_PRECONDITION, "branch '%s' is being created", record->name);
    case BRANCH_DELETING:
        return error_set(err, ERROR_NOT_FOUND, "branch '%s' does not exist", record->name);
    default:
        break;
    }
    if (branch_is_migrating(record)) {
        error_set(err, ERROR_FAILED_PRECONDITION, "branch '%s' is being migrated", record->name);
        error_set_reason(err, REASON_MIGRATION_STATE);
        return false;
    }
    return error_set(err, ERROR_FAILED_PRECONDITION, "branch '%s' is in a state that this version does not know", record->name);
}

static bool is_frozen(const struct branch_record *record)
{
    return branch_is_migrating(record) && record->state != BRANCH_PREPARING;
}

/* The record as a check that begins now finds it. */
static bool find_record(struct traditional *operation, struct branch_record *record, int64_t *confirmed_at, struct error *err)
{
    struct project_catalog catalog;
    int64_t before = clock_boot_micros();
    if (!project_refresh(operation->project, operation->deadline, err))
        return false;
    project_catalog(operation->project, &catalog);
    bool ok = !catalog.deleted ? project_find_branch(&catalog, operation->branch, &operation->arena, record, err)
                               : error_set(err, ERROR_NOT_FOUND, "project '%s' does not exist", project_name(operation->project));
    project_catalog_destroy(&catalog);
    *confirmed_at = before;
    return ok;
}

bool traditional_begin(struct traditional *operation, struct registry *registry, const char *project, const char *branch, int64_t deadline,
                       struct error *err)
{
    struct project_catalog catalog;
    struct backoff backoff = { .first_micros = FROZEN_BACKOFF_MICROS };
    *operation = (struct traditional) { .registry = registry, .branch = branch, .deadline = deadline };
    arena_init(&operation->arena, 0);
    bool ok, frozen = false;
    do {
        operation->confirmed_at = clock_boot_micros();
        ok = registry_find(registry, project, deadline, &operation->project, err);
        if (ok) {
            project_catalog(operation->project, &catalog);
            ok = project_find_branch(&catalog, branch, &operation->arena, &operation->record, err);
            project_catalog_destroy(&catalog);
        }
        /* its collections are about to be somewhere else: the record will say where */
        frozen = ok && is_frozen(&operation->record);
        if (frozen && backoff.tries == 0 && registry_standstill(registry))
            standstill_note(registry_standstill(registry), project, branch);
        if (frozen && backoff.tries > MAX_FROZEN_TRIES)
            backoff.tries = MAX_FROZEN_TRIES;
    } while (frozen && backoff_wait(&backoff, deadline));
    if (frozen)
        ok = error_set(err, ERROR_UNAVAILABLE,
                       "branch '%s' stands still while it is migrated; it is released when nobody goes on with that", branch);
    else if (ok && operation->record.kind == BRANCH_WAL)
        ok = collection_is_wal(branch, err);
    else if (ok)
        ok = (operation->record.state == BRANCH_PREPARING || traditional_check_state(&operation->record, err)) &&
             traditional_mongo(registry, &operation->mongo, err);
    if (!ok) {
        err->outcome = OUTCOME_NOT_APPLIED;
        traditional_end(operation);
    }
    return ok;
}

void traditional_end(struct traditional *operation)
{
    arena_destroy(&operation->arena);
}

static bool is_same(const struct branch_record *a, const struct branch_record *b)
{
    return strcmp(a->id, b->id) == 0 && b->kind == BRANCH_TRADITIONAL && a->state == b->state && a->epoch == b->epoch &&
           strcmp(a->prefix, b->prefix) == 0 && strcmp(a->database, b->database) == 0;
}

bool traditional_settle(struct traditional *operation, bool ok, struct error *err)
{
    struct branch_record now;
    struct error why;
    int64_t confirmed_at;
    if (clock_boot_micros() - operation->confirmed_at <= traditional_limit(&operation->record))
        return ok;
    enum error_outcome outcome = ok ? OUTCOME_UNKNOWN : err->outcome;
    const char *what = outcome == OUTCOME_NOT_APPLIED ? "not done" : "outcome unknown";
    if (!find_record(operation, &now, &confirmed_at, &why)) {
        error_set(err, ERROR_UNAVAILABLE, "%s: MongoDB answered late, and branch '%s' cannot be looked up: %s", what, operation->branch,
                  why.message);
    } else if (!is_same(&operation->record, &now)) {
        error_set(err, ERROR_UNAVAILABLE, "%s: MongoDB answered late, and branch '%s' has changed meanwhile", what, operation->branch);
    } else {
        operation->confirmed_at = confirmed_at;
        return ok;
    }
    err->outcome = outcome;
    return false;
}

const char *traditional_collection_name(struct traditional *operation, const char *name, struct error *err)
{
    size_t prefix = strlen(operation->record.prefix), len = strlen(name);
    char *made = arena_alloc(&operation->arena, prefix + len + 1);
    if (!made) {
        error_fill(err, ERROR_RESOURCE_EXHAUSTED, "out of memory");
        return NULL;
    }
    memcpy(made, operation->record.prefix, prefix);
    memcpy(made + prefix, name, len + 1);
    return made;
}
