/* Changes printed as they come, until Ctrl-C, the end of the branch or a failure; then said how to go on. */
#ifndef ARGON_CLI_CHANGE_FOLLOW_H
#define ARGON_CLI_CHANGE_FOLLOW_H

#include "cli/change_select.h"

/* Behind request->after_lsn. With stop_at_head it ends there, with true. Begins no list: whoever has printed the
 * first part of one goes on with it. */
CHECKED bool change_follow(struct cli *cli, const struct change_select *select, const Argon__Branch__V1__WatchRequest *request,
                           struct error *err);

#endif
