/* The answer of Find or Aggregate, printed as it arrives. */
#ifndef ARGON_CLI_FIND_STREAM_H
#define ARGON_CLI_FIND_STREAM_H

#include "cli/command.h"

/* Prints a list of documents; the memory is that of one message. *lsn: whose state it is. stale_ok: as in the
 * request, which says whether the log is asked at all. Ends early, and
 * with true, when the output fails: output_finish says why. */
CHECKED bool find_stream_print(struct cli *cli, const char *method, const ProtobufCMessage *request,
                               const Argon__Branch__V1__Target *target, bool stale_ok, struct output *out, uint64_t *lsn,
                               struct error *err);

#endif
