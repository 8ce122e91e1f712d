/* Which new branches become WAL branches: the flags, where their values come from, and the one function that decides.
 *
 *   wal.enabled            new branches may be WAL branches at all. Default: true, but false with a MongoDB for traditional branches
 *   wal.new_branches_only  a fork of a traditional branch stays traditional. Default: true
 *   wal.cutoff             none before this time. Default: "none"
 *   wal.rollout_percent    so many of a hundred, chosen by the branch's id. Default: 100
 *   rollout.stage          nothing depends on it: the stage that `argon rollout` applied last. Default: ""
 *
 * A value in the catalog (the collection `config` of `_system`) wins over the option of the program, that over the environment,
 * that over the file, that over the default. Each flag goes by itself.
 *
 * The choice is made once, when a branch is created, and recorded: a flag never changes what a branch is.
 *
 * The share. A branch is inside when XXH64(id, seed 0) modulo 100 is less than the percentage. That is so for ever (the ids and
 * numbers in tests/unit/test_features.c are fixed): raising the percentage never moves an id from inside to outside.
 *
 * Errors     INVALID_ARGUMENT names the key, the value and what was expected; an unknown key: names the known ones.
 */
#ifndef ARGON_BRANCH_CATALOG_FEATURES_H
#define ARGON_BRANCH_CATALOG_FEATURES_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base/config.h"
#include "common/base/error.h"

enum feature {
    FEATURE_ENABLED,
    FEATURE_NEW_BRANCHES_ONLY,
    FEATURE_CUTOFF,
    FEATURE_ROLLOUT_PERCENT,
    FEATURE_STAGE,
    N_FEATURES,
};

/* The first ones are options of the program, too. */
enum { N_FEATURE_OPTIONS = FEATURE_STAGE, FEATURE_TEXT_SIZE = 65 };

/* In order of precedence. */
enum feature_source { FEATURE_FROM_DEFAULT, FEATURE_FROM_FILE, FEATURE_FROM_ENVIRONMENT, FEATURE_FROM_FLAG, FEATURE_FROM_CATALOG };

struct features {
    bool enabled;
    bool new_branches_only;
    uint64_t cutoff; /* microseconds since the epoch; 0: none */
    uint32_t rollout_percent;
    char stage[FEATURE_TEXT_SIZE];
    enum feature_source sources[N_FEATURES];
};

/* ---- the decision ----------------------------------------------------------------------------------- */

struct new_branch {
    const char *id;
    bool parent_is_traditional;
    uint64_t now; /* microseconds since the epoch */
};

struct wal_decision {
    bool use_wal;
    char reason[128]; /* "wal.rollout_percent is 25 and the branch falls outside" */
};

struct wal_decision should_use_wal(const struct features *features, const struct new_branch *branch);

/* ---- values ----------------------------------------------------------------------------------------- */

/* "wal.enabled" */
const char *feature_key(enum feature feature);
CHECKED bool feature_find(const char *key, enum feature *feature, struct error *err);

/* Values as people write them: true or false; 0 to 100; "2027-01-01T00:00:00Z", "2027-01-01" (UTC) or "none"; a name. */
CHECKED bool features_set(struct features *features, enum feature feature, const char *text, enum feature_source source, struct error *err);
/* In one form, whatever form it was set in. */
void features_format(const struct features *features, enum feature feature, char text[FEATURE_TEXT_SIZE]);

/* ---- from the program's own configuration ----------------------------------------------------------- */

/* Targets of the options. */
struct feature_options {
    bool enabled;
    bool new_branches_only;
    const char *cutoff;
    uint64_t rollout_percent;
};

/* --enable-wal-branches and its fellows, in the order of enum feature. */
void features_describe_options(struct feature_options *targets, struct config_option options[N_FEATURE_OPTIONS]);

/* The defaults alone. mongodb_configured: traditional branches can be made. */
void features_init(struct features *features, bool mongodb_configured);
/* What the options say over that; rows and origins as they were parsed. */
CHECKED bool features_use_options(struct features *features, const struct feature_options *values,
                                  const struct config_option options[N_FEATURE_OPTIONS],
                                  const struct config_origin origins[N_FEATURE_OPTIONS], struct error *err);

#endif
