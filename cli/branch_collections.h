/* The collections of a branch with their index definitions, as one list.
 *
 * Ownership  everything lives in the command's arena.
 */
#ifndef ARGON_CLI_BRANCH_COLLECTIONS_H
#define ARGON_CLI_BRANCH_COLLECTIONS_H

#include "cli/command.h"

struct branch_collection {
    const char *name;
    const char *id;
    uint64_t created_at;
    Argon__Branch__V1__Document **indexes;
    size_t n_indexes;
};

struct branch_collections {
    struct branch_collection *items;
    size_t n;
    uint64_t lsn; /* whose state it is */
};

/* Of the branch of the command, in the state that `read` says. */
CHECKED bool branch_collections_list(struct cli *cli, const Argon__Branch__V1__ReadOptions *read, struct branch_collections *list,
                                     struct error *err);
/* NULL when it is not there. */
const struct branch_collection *branch_collections_find(const struct branch_collections *list, const char *name);

/* Makes the collection if it is not there. */
CHECKED bool branch_collections_set_indexes(struct cli *cli, const char *collection, const struct bytes *definitions, size_t n,
                                            struct error *err);

/* Counts its documents in the state at an LSN; 0: now. */
CHECKED bool branch_collections_count(struct cli *cli, const char *collection, uint64_t lsn, uint64_t *n, struct error *err);

#endif
