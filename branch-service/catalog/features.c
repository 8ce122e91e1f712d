#include "branch-service/catalog/features.h"

#include <stdio.h>
#include <string.h>
#include <xxhash.h>

#include "common/base/clock.h"
#include "common/bson/iso_date.h"

static const char no_cutoff[] = "none";

/* ---- the decision ----------------------------------------------------------------------------------- */

static bool falls_inside(const char *id, uint32_t percent)
{
    return XXH64(id, strlen(id), 0) % 100 < percent;
}

struct wal_decision should_use_wal(const struct features *features, const struct new_branch *branch)
{
    struct wal_decision decision = { .use_wal = false };
    char cutoff[FEATURE_TEXT_SIZE];
    if (!features->enabled) {
        snprintf(decision.reason, sizeof decision.reason, "wal.enabled is false");
    } else if (branch->now < features->cutoff) {
        features_format(features, FEATURE_CUTOFF, cutoff);
        snprintf(decision.reason, sizeof decision.reason, "wal.cutoff is %s, which is still to come", cutoff);
    } else if (features->new_branches_only && branch->parent_is_traditional) {
        snprintf(decision.reason, sizeof decision.reason, "wal.new_branches_only is true and the parent is a traditional branch");
    } else {
        decision.use_wal = falls_inside(branch->id, features->rollout_percent);
        snprintf(decision.reason, sizeof decision.reason, "wal.rollout_percent is %u and the branch falls %s", features->rollout_percent,
                 decision.use_wal ? "inside" : "outside");
    }
    return decision;
}

/* ---- values ----------------------------------------------------------------------------------------- */

static bool parse_bool(const char *text, bool *value, struct error *err)
{
    if (strcmp(text, "true") != 0 && strcmp(text, "false") != 0)
        return error_set(err, ERROR_INVALID_ARGUMENT, "'%.80s' is neither true nor false", text);
    *value = text[0] == 't';
    return true;
}

static bool set_enabled(struct features *features, const char *text, struct error *err)
{
    return parse_bool(text, &features->enabled, err);
}

static bool set_new_branches_only(struct features *features, const char *text, struct error *err)
{
    return parse_bool(text, &features->new_branches_only, err);
}

static bool set_cutoff(struct features *features, const char *text, struct error *err)
{
    char midnight[FEATURE_TEXT_SIZE];
    int64_t millis = 0;
    if (strcmp(text, no_cutoff) == 0) {
        features->cutoff = 0;
        return true;
    }
    bool is_day = strlen(text) == strlen("2027-01-01");
    snprintf(midnight, sizeof midnight, "%.10sT00:00:00Z", text);
    const char *problem = iso_date_parse(bytes_of_string(is_day ? midnight : text), &millis);
    if (!problem && (millis <= 0 || !iso_date_has_text(millis)))
        problem = "the years 1970 to 9999 are possible";
    if (problem)
        return error_set(err, ERROR_INVALID_ARGUMENT, "'%.80s' is not a time such as 2027-01-01, 2027-01-01T12:00:00Z or none: %s", text,
                         problem);
    features->cutoff = (uint64_t)millis * 1000;
    return true;
}

static bool set_rollout_percent(struct features *features, const char *text, struct error *err)
{
    uint32_t percent = 0;
    size_t len = strlen(text);
    bool ok = len > 0 && len <= 3 && strspn(text, "0123456789") == len;
    for (size_t i = 0; ok && i < len; i++)
        percent = 10 * percent + (uint32_t)(text[i] - '0');
    if (!ok || percent > 100)
        return error_set(err, ERROR_INVALID_ARGUMENT, "'%.80s' is not a whole number from 0 to 100", text);
    features->rollout_percent = percent;
    return true;
}

static bool set_stage(struct features *features, const char *text, struct error *err)
{
    static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-";
    size_t len = strlen(text);
    if (len >= sizeof features->stage || strspn(text, allowed) != len)
        return error_set(err, ERROR_INVALID_ARGUMENT, "'%.80s' is not a name of at most %zu letters, digits and . _ -", text,
                         sizeof features->stage - 1);
    memcpy(features->stage, text, len + 1);
    return true;
}

static const struct feature_row {
    const char *key;
    bool (*set)(struct features *features, const char *text, struct error *err);
} rows[N_FEATURES] = {
    [FEATURE_ENABLED] = { "wal.enabled", set_enabled }, [FEATURE_NEW_BRANCHES_ONLY] = { "wal.new_branches_only", set_new_branches_only },
    [FEATURE_CUTOFF] = { "wal.cutoff", set_cutoff },    [FEATURE_ROLLOUT_PERCENT] = { "wal.rollout_percent", set_rollout_percent },
    [FEATURE_STAGE] = { "rollout.stage", set_stage },
};

const char *feature_key(enum feature feature)
{
    return rows[feature].key;
}

bool feature_find(const char *key, enum feature *feature, struct error *err)
{
    for (size_t i = 0; i < N_FEATURES; i++)
        if (strcmp(rows[i].key, key) == 0) {
            *feature = (enum feature)i;
            return true;
        }
    return error_set(err, ERROR_INVALID_ARGUMENT, "there is no key '%.80s'; there are %s, %s, %s, %s and %s", key, rows[0].key, rows[1].key,
                     rows[2].key, rows[3].key, rows[4].key);
}

bool features_set(struct features *features, enum feature feature, const char *text, enum feature_source source, struct error *err)
{
    if (!rows[feature].set(features, text, err))
        return error_wrap(err, "%s", rows[feature].key);
    features->sources[feature] = source;
    return true;
}

void features_format(const struct features *features, enum feature feature, char text[FEATURE_TEXT_SIZE])
{
    switch (feature) {
    case FEATURE_ENABLED:
        snprintf(text, FEATURE_TEXT_SIZE, "%s", features->enabled ? "true" : "false");
        return;
    case FEATURE_NEW_BRANCHES_ONLY:
        snprintf(text, FEATURE_TEXT_SIZE, "%s", features->new_branches_only ? "true" : "false");
        return;
    case FEATURE_CUTOFF:
        if (features->cutoff)
            iso_date_format((int64_t)(features->cutoff / 1000), text);
        else
            snprintf(text, FEATURE_TEXT_SIZE, "%s", no_cutoff);
        return;
    case FEATURE_ROLLOUT_PERCENT:
        snprintf(text, FEATURE_TEXT_SIZE, "%u", features->rollout_percent);
        return;
    case FEATURE_STAGE:
        snprintf(text, FEATURE_TEXT_SIZE, "%s", features->stage);
        return;
    case N_FEATURES:
        break;
    }
    text[0] = '\0';
}

/* ---- from the program's own configuration ----------------------------------------------------------- */

void features_describe_options(struct feature_options *targets, struct config_option options[N_FEATURE_OPTIONS])
{
    const struct config_option all[N_FEATURE_OPTIONS] = {
        [FEATURE_ENABLED] = { .name = "enable-wal-branches",
                              .kind = CONFIG_BOOL,
                              .target = &targets->enabled,
                              .variable = "ENABLE_WAL_BRANCHES",
                              .help = "new branches may be WAL branches (unless said: true without a MongoDB, else false)" },
        [FEATURE_NEW_BRANCHES_ONLY] = { .name = "wal-new-branches-only",
                                        .kind = CONFIG_BOOL,
                                        .target = &targets->new_branches_only,
                                        .fallback = "true",
                                        .variable = "WAL_NEW_BRANCHES_ONLY",
                                        .help = "a fork of a traditional branch stays traditional" },
        [FEATURE_CUTOFF] = { .name = "wal-cutoff",
                             .kind = CONFIG_STRING,
                             .target = &targets->cutoff,
                             .fallback = no_cutoff,
                             .variable = "WAL_CUTOFF",
                             .argument = "TIME",
                             .help = "no new WAL branch before this time: 2027-01-01 (UTC) or RFC 3339" },
        [FEATURE_ROLLOUT_PERCENT] = { .name = "wal-rollout-percent",
                                      .kind = CONFIG_UINT,
                                      .target = &targets->rollout_percent,
                                      .fallback = "100",
                                      .variable = "WAL_ROLLOUT_PERCENT",
                                      .max = 100,
                                      .argument = "N",
                                      .help = "share of the new branches that become WAL branches" },
    };
    memcpy(options, all, sizeof all);
}

void features_init(struct features *features, bool mongodb_configured)
{
    *features = (struct features) { .enabled = !mongodb_configured, .new_branches_only = true, .rollout_percent = 100 };
}

static enum feature_source source_of(const struct config_origin *origin)
{
    static const enum feature_source sources[] = {
        [CONFIG_FROM_DEFAULT] = FEATURE_FROM_DEFAULT,
        [CONFIG_FROM_FILE] = FEATURE_FROM_FILE,
        [CONFIG_FROM_ENVIRONMENT] = FEATURE_FROM_ENVIRONMENT,
        [CONFIG_FROM_FLAG] = FEATURE_FROM_FLAG,
    };
    return sources[origin->source];
}

bool features_use_options(struct features *features, const struct feature_options *values,
                          const struct config_option options[N_FEATURE_OPTIONS], const struct config_origin origins[N_FEATURE_OPTIONS],
                          struct error *err)
{
    struct features used = *features;
    if (!set_cutoff(&used, values->cutoff, err))
        return config_wrap_origin(&options[FEATURE_CUTOFF], &origins[FEATURE_CUTOFF], err);
    /* not said is not false: the default depends on more than the option */
    if (origins[FEATURE_ENABLED].source != CONFIG_FROM_DEFAULT)
        used.enabled = values->enabled;
    used.new_branches_only = values->new_branches_only;
    used.rollout_percent = (uint32_t)values->rollout_percent;
    for (size_t i = 0; i < N_FEATURE_OPTIONS; i++)
        used.sources[i] = source_of(&origins[i]);
    *features = used;
    return true;
}
