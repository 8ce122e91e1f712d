#include "cli/change_follow.h"
#include "cli/change_stream.h"
#include "cli/command.h"

static struct {
    bool documents;
} options;

static bool watch(struct cli *cli, struct error *err)
{
    Argon__Branch__V1__WatchRequest request = ARGON__BRANCH__V1__WATCH_REQUEST__INIT;
    struct change_select select = { 0 };
    /* from an LSN on, not "from now on": a connection that is lost before the first change must not leave a gap */
    bool ok =
        change_select_init(&select, cli, &request, err) && (select.has_begin || change_stream_find_head(cli, &request.after_lsn, err));
    if (ok) {
        request.omit_documents = !options.documents;
        output_list_begin(&cli->out);
        ok = change_follow(cli, &select, &request, err);
        output_list_end(&cli->out);
    }
    change_select_destroy(&select);
    return ok;
}

static const struct config_option watch_options[] = {
    { "documents", 0, CONFIG_BOOL, &options.documents, "true", NULL, 0, 0, NULL, "with the documents; --no-documents: without" },
};

static const struct command commands[] = {
    { NULL, "-p PROJECT [-b BRANCH]", "Print changes as they are committed, oldest first, until Ctrl-C; it reconnects by itself",
      "argon watch -p shop -b dev -c users -o ndjson", 0, 0, watch, watch_options, ARRAY_LEN(watch_options), &change_select_options },
};

const struct command_group watch_group = { "watch", "Print the changes of a branch as they come", commands, ARRAY_LEN(commands),
                                           GROUP_REMOTE };
