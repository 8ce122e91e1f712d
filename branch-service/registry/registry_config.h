/* The flags of features.h as they hold now: what the catalog says over what this process was started with.
 *
 * registry_features is for whoever creates a branch. It looks at the log at most twice a second, however many ask, and sees
 * whatever was set FEATURES_MAX_AGE_MICROS ago or earlier, on whatever replica. Without the log it fails, and so would the
 * creation. registry_config_get is for who wants to see the configuration: it sees all that was set before.
 *
 * Settings are written to `_system` as documents of its collection `config`, all of a request in one batch.
 *
 * Errors     INVALID_ARGUMENT: a key, a value, a key twice, none at all. Of writes: write.h.
 */
#ifndef ARGON_BRANCH_REGISTRY_REGISTRY_CONFIG_H
#define ARGON_BRANCH_REGISTRY_REGISTRY_CONFIG_H

#include "branch-service/catalog/features.h"
#include "branch-service/registry/registry.h"

#define FEATURES_MAX_AGE_MICROS (500 * (int64_t)1000)

CHECKED bool registry_features(struct registry *registry, int64_t deadline, struct features *features, struct error *err);
/* *lsn: of `_system`. */
CHECKED bool registry_config_get(struct registry *registry, int64_t deadline, struct features *features, uint64_t *lsn, struct error *err);

struct setting {
    const char *key;
    const char *value; /* NULL: no longer set in the catalog */
};
CHECKED bool registry_config_set(struct registry *registry, const struct setting *settings, size_t n, const struct write_request *request,
                                 uint64_t *lsn, struct error *err);

#endif
