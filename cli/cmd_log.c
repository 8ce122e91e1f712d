/* The stream of changes is in LSN order; what is shown newest first is looked for from the head back, in spans that
 * grow until enough was found. */
#include <stdlib.h>
#include <string.h>

#include "cli/change_follow.h"
#include "cli/change_print.h"
#include "cli/change_stream.h"
#include "cli/command.h"
#include "common/base/memory.h"

enum { DEFAULT_LIMIT = 20, SPAN_GROWTH = 8, MIN_SPAN = 64 };

static struct {
    uint64_t limit;
    bool reverse;
    bool follow;
    bool documents;
} options;

/* The newest `limit` changes, or all; oldest first. */
struct kept {
    struct {
        uint8_t *packed;
        size_t len;
        uint64_t lsn;
    } * changes;
    size_t begin, end, capacity; /* [begin, end) is kept */
    uint64_t limit;              /* 0: all */
};

static void drop_oldest(struct kept *kept)
{
    free(kept->changes[kept->begin].packed);
    kept->begin++;
}

static void clear(struct kept *kept)
{
    while (kept->begin < kept->end)
        drop_oldest(kept);
    kept->begin = kept->end = 0;
}

static void drop_above(struct kept *kept, uint64_t lsn)
{
    while (kept->end > kept->begin && kept->changes[kept->end - 1].lsn > lsn)
        free(kept->changes[--kept->end].packed);
}

static bool keep(struct kept *kept, const Argon__Branch__V1__Change *change, struct error *err)
{
    if (kept->limit && kept->end - kept->begin == kept->limit)
        drop_oldest(kept);
    if (kept->begin > 0 && kept->begin >= kept->end - kept->begin) { /* half of it is gone: each moves once at most */
        memmove(kept->changes, kept->changes + kept->begin, (kept->end - kept->begin) * sizeof *kept->changes);
        kept->end -= kept->begin;
        kept->begin = 0;
    }
    if (kept->end == kept->capacity) {
        kept->capacity = kept->capacity ? 2 * kept->capacity : 256;
        kept->changes = mem_realloc(kept->changes, kept->capacity * sizeof *kept->changes);
    }
    size_t len = protobuf_c_message_get_packed_size(&change->base);
    uint8_t *packed = mem_try_alloc(len ? len : 1);
    if (!packed)
        return error_set(err, ERROR_RESOURCE_EXHAUSTED, "no memory for so many changes; with --reverse and --after-lsn none is kept");
    protobuf_c_message_pack(&change->base, packed);
    kept->changes[kept->end].packed = packed;
    kept->changes[kept->end].len = len;
    kept->changes[kept->end++].lsn = change->lsn;
    return true;
}

/* What there is behind request->after_lsn. *through_lsn: all up to there has been looked at. */
static bool collect(struct cli *cli, const struct change_select *select, const Argon__Branch__V1__WatchRequest *request, struct kept *kept,
                    uint64_t *through_lsn, struct error *err)
{
    struct change_stream stream;
    if (!change_stream_open(&stream, cli, request, err))
        return false;
    enum change_event event = CHANGE_EVENT_CHANGES;
    bool ok = true;
    while (ok && event != CHANGE_EVENT_AT_HEAD) {
        const Argon__Branch__V1__WatchResponse *response;
        struct arena arena;
        arena_init(&arena, 0);
        ok = change_stream_next(&stream, &arena, &event, &response, err);
        if (ok && event == CHANGE_EVENT_CHANGES)
            for (size_t i = 0; ok && i < response->n_changes; i++)
                ok = !change_select_matches(select, response->changes[i]) || keep(kept, response->changes[i], err);
        else if (ok && event != CHANGE_EVENT_AT_HEAD)
            drop_above(kept, stream.through_lsn);
        arena_destroy(&arena);
    }
    *through_lsn = stream.through_lsn;
    change_stream_close(&stream);
    return ok;
}

static bool collect_newest(struct cli *cli, const struct change_select *select, const Argon__Branch__V1__WatchRequest *request,
                           struct kept *kept, uint64_t *through_lsn, struct error *err)
{
    if (select->has_begin)
        return collect(cli, select, request, kept, through_lsn, err);
    Argon__Branch__V1__WatchRequest span = *request;
    uint64_t head, size = 2 * kept->limit > MIN_SPAN ? 2 * kept->limit : MIN_SPAN;
    if (!cli_reach_branch(cli, request->project, request->branch, false, err) || /* the head that --min-lsn waits for */
        !change_stream_find_head(cli, &head, err))
        return false;
    for (;; size = size > head ? size : size * SPAN_GROWTH) {
        clear(kept);
        span.after_lsn = head > size ? head - size : 0;
        if (!collect(cli, select, &span, kept, through_lsn, err))
            return false;
        if (kept->end - kept->begin == kept->limit || span.after_lsn == 0)
            return true;
    }
}

static bool print_kept(struct output *out, const struct kept *kept, bool newest_first, struct error *err)
{
    bool ok = true;
    for (size_t i = kept->begin; ok && i < kept->end && !output_failed(out); i++) {
        size_t at = newest_first ? kept->end - 1 - (i - kept->begin) : i;
        Argon__Branch__V1__Change *change = argon__branch__v1__change__unpack(NULL, kept->changes[at].len, kept->changes[at].packed);
        ok = change ? change_print(out, change, err) : error_out_of_memory(err);
        if (change)
            argon__branch__v1__change__free_unpacked(change, NULL);
    }
    return ok;
}

static bool show(struct cli *cli, const struct change_select *select, Argon__Branch__V1__WatchRequest *request, struct kept *kept,
                 struct error *err)
{
    bool oldest_first = options.reverse || options.follow;
    request->omit_documents = !options.documents;
    if (kept->limit || !oldest_first) {
        request->stop_at_head = true;
        uint64_t through_lsn;
        if (!collect_newest(cli, select, request, kept, &through_lsn, err))
            return false;
        output_list_begin(&cli->out);
        bool printed = print_kept(&cli->out, kept, !oldest_first, err);
        if (!printed || !options.follow) {
            output_list_end(&cli->out);
            return printed;
        }
        output_flush(&cli->out);
        request->after_lsn = through_lsn;
    } else {
        output_list_begin(&cli->out);
    }
    request->stop_at_head = !options.follow;
    bool ok = change_follow(cli, select, request, err);
    output_list_end(&cli->out);
    return ok;
}

static bool run_log(struct cli *cli, struct error *err)
{
    Argon__Branch__V1__WatchRequest request = ARGON__BRANCH__V1__WATCH_REQUEST__INIT;
    struct change_select select = { 0 };
    struct kept kept = { 0 };
    if (!change_select_init(&select, cli, &request, err))
        return false;
    kept.limit = options.limit ? options.limit : select.has_begin ? 0 : DEFAULT_LIMIT;
    bool ok = show(cli, &select, &request, &kept, err);
    clear(&kept);
    free(kept.changes);
    change_select_destroy(&select);
    return ok;
}

static const struct config_option log_options[] = {
    { "limit", 'n', CONFIG_UINT, &options.limit, NULL, NULL, 1, 0, "N", "the newest N (default 20; all with --after-lsn or --since)" },
    { "reverse", 0, CONFIG_BOOL, &options.reverse, NULL, NULL, 0, 0, NULL, "oldest first" },
    { "follow", 'f', CONFIG_BOOL, &options.follow, NULL, NULL, 0, 0, NULL, "oldest first, then what is committed later, until Ctrl-C" },
    { "documents", 0, CONFIG_BOOL, &options.documents, NULL, NULL, 0, 0, NULL, "with the documents as they were after each change" },
};

static const struct command commands[] = {
    { NULL, "-p PROJECT [-b BRANCH]", "Show the changes of a branch and of what it began from, newest first",
      "argon log -p shop -b dev -c users -n 50", 0, 0, run_log, log_options, ARRAY_LEN(log_options), &change_select_options },
};

const struct command_group log_group = { "log", "Show the history of a branch", commands, ARRAY_LEN(commands), GROUP_REMOTE };
