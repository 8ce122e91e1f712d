#include "branch-service/registry/registry_config.h"

/* ---- reading ---------------------------------------------------------------------------------------- */

/* A key that this version does not know is a newer one's. */
static bool use_setting(struct features *features, struct bytes document, struct error *err)
{
    const char *key, *value;
    enum feature feature;
    if (!catalog_decode_setting(document, &key, &value, err))
        return false;
    if (!feature_find(key, &feature, NULL))
        return true;
    struct error problem;
    if (!features_set(features, feature, value, FEATURE_FROM_CATALOG, &problem))
        return error_set(err, ERROR_DATA_LOSS, "the catalog's config: %s", problem.message);
    return true;
}

static bool read_known(struct registry *registry, struct features *features, uint64_t *lsn, struct error *err)
{
    struct features found = *registry_own_features(registry);
    struct project_catalog catalog;
    struct tree_cursor cursor;
    struct tree_item item;
    bool ok = true;
    project_catalog(registry_system(registry), &catalog);
    tree_cursor_first(&cursor, catalog.config);
    while (ok && tree_cursor_next(&cursor, &item))
        ok = use_setting(&found, item.document, err);
    *lsn = catalog.lsn;
    project_catalog_destroy(&catalog);
    if (ok)
        *features = found;
    return ok;
}

bool registry_features(struct registry *registry, int64_t deadline, struct features *features, struct error *err)
{
    uint64_t lsn;
    return registry_refresh_system(registry, FEATURES_MAX_AGE_MICROS, deadline, err) && read_known(registry, features, &lsn, err);
}

bool registry_config_get(struct registry *registry, int64_t deadline, struct features *features, uint64_t *lsn, struct error *err)
{
    return registry_refresh_system(registry, 0, deadline, err) && read_known(registry, features, lsn, err);
}

/* ---- writing ---------------------------------------------------------------------------------------- */

struct config_change {
    struct registry *registry;
    const struct setting *settings;
    size_t n;
};

/* The entry that brings the record to what the setting says; *needed = false: it is so already. */
static bool plan_setting(const struct tree *config, const struct setting *setting, struct arena *arena, struct log_entry *entry,
                         struct bytes *key, bool *needed, struct error *err)
{
    char value[FEATURE_TEXT_SIZE];
    struct features scratch;
    enum feature feature;
    struct tree_item item;
    struct bytes document = { 0 };
    features_init(&scratch, false);
    if (!feature_find(setting->key, &feature, err) || !catalog_key(setting->key, arena, key, err))
        return false;
    bool there = tree_get(config, *key, &item);
    if (setting->value) {
        if (!features_set(&scratch, feature, setting->value, FEATURE_FROM_CATALOG, err))
            return false;
        features_format(&scratch, feature, value);
        if (!catalog_encode_setting(setting->key, value, arena, &document, err))
            return false;
    }
    *needed = setting->value ? !there || !bytes_equal(item.document, document) : there;
    *entry = (struct log_entry) { .operation = !setting->value ? LOG_DELETE
                                               : there         ? LOG_UPDATE
                                                               : LOG_INSERT,
                                  .document_id = *key,
                                  .document = document };
    return true;
}

static bool evaluate(void *ctx, struct arena *arena, struct write_plan *plan, struct error *err)
{
    const struct config_change *change = ctx;
    struct log_entry *entries = arena_alloc(arena, change->n * sizeof *entries);
    struct log_key *read_keys = arena_alloc(arena, change->n * sizeof *read_keys);
    struct log_run *run = arena_zalloc(arena, sizeof *run);
    size_t n_entries = 0;
    bool ok = (entries && read_keys && run) || error_out_of_memory(err);
    if (!ok)
        return false;
    struct project_catalog catalog;
    project_catalog(registry_system(change->registry), &catalog);
    for (size_t i = 0; ok && i < change->n; i++) {
        bool needed;
        struct bytes key;
        ok = plan_setting(catalog.config, &change->settings[i], arena, &entries[n_entries], &key, &needed, err);
        if (!ok)
            break;
        n_entries += needed;
        /* what is so already must stay so, or two requests beside each other would leave a mixture */
        read_keys[i] = (struct log_key) { .branch_id = CATALOG_BRANCH, .collection = CONFIG_COLLECTION, .document_id = key };
    }
    if (ok) {
        *run =
            (struct log_run) { .branch_id = CATALOG_BRANCH, .collection = CONFIG_COLLECTION, .entries = entries, .n_entries = n_entries };
        plan->read_lsn = catalog.lsn;
        plan->incarnation = catalog.incarnation;
        plan->runs = run;
        plan->n_runs = n_entries > 0;
        plan->read_keys = read_keys;
        plan->n_read_keys = change->n;
    }
    project_catalog_destroy(&catalog);
    return ok;
}

static bool check(const struct setting *settings, size_t n, struct error *err)
{
    bool seen[N_FEATURES] = { false };
    struct features scratch;
    features_init(&scratch, false);
    if (n == 0)
        return error_set(err, ERROR_INVALID_ARGUMENT, "no key is given");
    for (size_t i = 0; i < n; i++) {
        enum feature feature;
        if (!feature_find(settings[i].key, &feature, err))
            return false;
        if (settings[i].value && !features_set(&scratch, feature, settings[i].value, FEATURE_FROM_CATALOG, err))
            return false;
        if (seen[feature])
            return error_set(err, ERROR_INVALID_ARGUMENT, "the key %s is given twice", settings[i].key);
        seen[feature] = true;
    }
    return true;
}

bool registry_config_set(struct registry *registry, const struct setting *settings, size_t n, const struct write_request *request,
                         uint64_t *lsn, struct error *err)
{
    struct config_change change = { .registry = registry, .settings = settings, .n = n };
    struct write_result result;
    if (!check(settings, n, err) || !write_request_check(request, err) || !registry_refresh_system(registry, 0, request->deadline, err))
        return write_refuse(request, err);
    if (!write_execute(registry_system(registry), request, evaluate, &change, &result, err))
        return false;
    *lsn = result.lsn;
    write_result_destroy(&result);
    return true;
}
