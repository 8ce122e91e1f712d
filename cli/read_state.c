#include "cli/read_state.h"

#include "cli/when.h"

static struct {
    uint64_t at_lsn;
    const char *at_time;
    bool stale_ok;
} options;

static const struct config_option rows[] = {
    /* not 0: to the service that is now, and nobody who writes it means that */
    { "at-lsn", 0, CONFIG_UINT, &options.at_lsn, NULL, NULL, 1, 0, "LSN", "the state at this LSN, not the newest" },
    { "at-time", 0, CONFIG_STRING, &options.at_time, NULL, NULL, 0, 0, "TIME", "the state at this time: " WHEN_HELP },
    { "stale-ok", 0, CONFIG_BOOL, &options.stale_ok, NULL, NULL, 0, 0, NULL, "what the replica has, without asking the log" },
};
const struct config_table read_state_options = { rows, ARRAY_LEN(rows), false };

bool read_state_fill(const struct cli *cli, Argon__Branch__V1__ReadOptions *read, struct error *err)
{
    uint64_t time;
    if (!when_choose(options.at_lsn, options.at_time, &time, err))
        return false;
    if (options.stale_ok && (options.at_lsn || time))
        return error_set(err, ERROR_INVALID_ARGUMENT, "--stale-ok and %s exclude each other", time ? "--at-time" : "--at-lsn");
    *read = (Argon__Branch__V1__ReadOptions)ARGON__BRANCH__V1__READ_OPTIONS__INIT;
    read->as_of_lsn = options.at_lsn;
    read->as_of_time = time;
    read->stale_ok = options.stale_ok;
    read->min_lsn = cli->options->min_lsn;
    return true;
}
