/* The stages of a rollout, from a YAML file:
 *
 *     stages:
 *       - name: canary
 *         enabled: true              # required, as is the name
 *         percent: 10                # 100 unless given
 *         new_branches_only: true    # true unless given
 *         cutoff: 2027-01-01         # none unless given
 *
 * A stage says all of the flags, so what a rollout is at follows from the stage alone.
 *
 * Errors     INVALID_ARGUMENT names file, line and what was expected; NOT_FOUND.
 */
#ifndef ARGON_CLI_ROLLOUT_FILE_H
#define ARGON_CLI_ROLLOUT_FILE_H

#include <stddef.h>

#include "common/base/arena.h"
#include "common/base/error.h"

enum { ROLLOUT_VALUES = 4 };
#define ROLLOUT_STAGE_KEY "rollout.stage"

/* The keys of the service's config, in the order of a stage's values. */
extern const char *const rollout_keys[ROLLOUT_VALUES];

struct rollout_stage {
    const char *name;
    const char *values[ROLLOUT_VALUES]; /* as the service writes them */
};

struct rollout {
    struct rollout_stage *stages;
    size_t n;
};

/* Everything lives in the arena. */
CHECKED bool rollout_load(const char *path, struct arena *arena, struct rollout *rollout, struct error *err);

#endif
