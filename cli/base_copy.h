/* A copy of a traditional branch on the log, for WAL branches to begin with. */
#ifndef ARGON_CLI_BASE_COPY_H
#define ARGON_CLI_BASE_COPY_H

#include "cli/command.h"

struct base_copied {
    char id[64];
    bool isolated;
    char why_not[256];
};

/* How far it is stands on stderr while somebody looks. */
CHECKED bool base_copy(struct cli *cli, char *project, char *branch, struct base_copied *copied, struct error *err);
CHECKED bool base_delete(struct cli *cli, char *project, char *base_id, uint64_t *lsn, struct error *err);
/* The same in the middle of another write, of which the connection goes on knowing what it knows. */
CHECKED bool base_discard(struct cli *cli, char *project, char *base_id, struct error *err);

#endif
