/* The changes of a branch, in LSN order, each once: the stream of Watch, opened again where it stopped whenever the
 * service or the connection goes away, without a gap and without a repetition.
 *
 * States     open --message--> open;  open --UNAVAILABLE--> lost --waiting--> open behind through_lsn
 *            open --end: reset, log replaced--> open behind restart_lsn;  open --at head, deleted--> over
 * Errors     of the call; OUT_OF_RANGE after a reconnection: the log ends before what was seen.
 */
#ifndef ARGON_CLI_CHANGE_STREAM_H
#define ARGON_CLI_CHANGE_STREAM_H

#include "cli/command.h"
#include "common/base/backoff.h"

struct change_stream {
    struct cli *cli;
    Argon__Branch__V1__WatchRequest request;
    struct rpc_client_stream *stream; /* NULL: not open */
    uint64_t through_lsn;             /* everything up to here has been handed out */
    bool was_open;                    /* has ever answered */
    bool lost;                        /* the last stream broke */
    /* of a last message that had changes, too: told with the next call */
    Argon__Branch__V1__WatchEnd end;
    uint64_t restart_lsn;
    struct backoff backoff;
};

enum change_event {
    CHANGE_EVENT_CHANGES,  /* response->changes, up to response->through_lsn */
    CHANGE_EVENT_AT_HEAD,  /* over: everything has been handed out */
    CHANGE_EVENT_RESET,    /* the branch shows another state above restart_lsn; the stream goes on behind it */
    CHANGE_EVENT_REPLACED, /* the same, as the log was replaced by an older copy */
};

/* Behind after_lsn; a short call finds out first whether the branch is there. */
CHECKED bool change_stream_open(struct change_stream *stream, struct cli *cli, const Argon__Branch__V1__WatchRequest *request,
                                struct error *err);
void change_stream_close(struct change_stream *stream); /* fine on {0} */

/* Waits. *response lives in the arena; NULL unless there are changes or their end. NOT_FOUND when the branch or its project has been
 * deleted. */
CHECKED bool change_stream_next(struct change_stream *stream, struct arena *arena, enum change_event *event,
                                const Argon__Branch__V1__WatchResponse **response, struct error *err);

/* The branch's project's newest LSN. */
CHECKED bool change_stream_find_head(struct cli *cli, uint64_t *lsn, struct error *err);
/* The LSN of the state that the branch had at this time. */
CHECKED bool change_stream_find_lsn(struct cli *cli, uint64_t time, uint64_t *lsn, struct error *err);

#endif
