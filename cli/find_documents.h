/* The documents of a collection of a branch, one at a time, in _id order. */
#ifndef ARGON_CLI_FIND_DOCUMENTS_H
#define ARGON_CLI_FIND_DOCUMENTS_H

#include "cli/command.h"

typedef bool find_visit_fn(void *ctx, struct bytes document, struct error *err);

/* In the state at an LSN (0: as it is when it is read, which a traditional branch has alone), from the `skip`th on. When the stream ends
 * before its time (a restart, a drain) it is opened again behind what has come, until nothing has come for --timeout; without an LSN only
 * while nothing has come. The visitor returns false to stop. */
CHECKED bool find_documents(struct cli *cli, const char *collection, uint64_t lsn, uint64_t skip, find_visit_fn *visit, void *ctx,
                            struct error *err);

#endif
