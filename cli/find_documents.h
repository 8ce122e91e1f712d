/* The documents of a collection of a branch, one at a time, in _id order.
 *
 * When the stream ends before its time (a restart, a drain) it is opened again behind what has come, in the state at the LSN that the
 * first answer was of, until nothing has come for --timeout. A traditional branch has no LSN: there, and where the
 * documents come in another order or by Aggregate, it is opened again only while nothing has come. */
#ifndef ARGON_CLI_FIND_DOCUMENTS_H
#define ARGON_CLI_FIND_DOCUMENTS_H

#include "cli/command.h"

/* False stops. */
typedef bool find_visit_fn(void *ctx, struct bytes document, struct error *err);

/* The request is of Find or Aggregate. *lsn: whose state it is; 0: a traditional branch's, or nothing came. */
CHECKED bool find_read(struct cli *cli, const char *method, const ProtobufCMessage *request, find_visit_fn *visit, void *ctx, uint64_t *lsn,
                       struct error *err);

/* All in the state at an LSN (0: as it is when it is read), from the `skip`th on. */
CHECKED bool find_documents(struct cli *cli, const char *collection, uint64_t lsn, uint64_t skip, find_visit_fn *visit, void *ctx,
                            struct error *err);

#endif
