#include "cli/change_follow.h"

#include <inttypes.h>

#include "cli/change_print.h"
#include "cli/change_stream.h"
#include "cli/interrupt.h"

struct follow {
    struct cli *cli;
    uint64_t shown_lsn; /* while held; everything up to here has been printed */
};

static void say_how_to_go_on(const struct follow *follow)
{
    fprintf(stderr, "argon: to go on, repeat the command with --after-lsn %" PRIu64 "\n", follow->shown_lsn);
}

static void farewell(void *ctx)
{
    struct follow *follow = ctx;
    struct output *out = &follow->cli->out;
    if (out->format == OUTPUT_JSON) /* what was begun is closed */
        output_list_end(out);
    output_flush(out);
    say_how_to_go_on(follow);
}

static bool print_changes(struct follow *follow, const struct change_select *select, const Argon__Branch__V1__WatchResponse *response,
                          struct error *err)
{
    bool ok = true;
    for (size_t i = 0; ok && i < response->n_changes; i++)
        if (change_select_matches(select, response->changes[i]))
            ok = change_print(&follow->cli->out, response->changes[i], err);
    return ok;
}

static void print_restart(struct follow *follow, const char *kind, uint64_t restart_lsn)
{
    struct output *out = &follow->cli->out;
    const struct field fields[] = { FIELD_STRING("kind", kind), FIELD_U64("restart_lsn", restart_lsn) };
    if (out->format != OUTPUT_TABLE)
        output_list_row(out, fields, ARRAY_LEN(fields));
    fprintf(stderr, "argon: %s; what was shown above LSN %" PRIu64 " does not hold any more\n", kind, restart_lsn);
}

/* One message. *more: the stream goes on. */
static bool follow_once(struct follow *follow, struct change_stream *stream, const struct change_select *select, bool *more,
                        struct error *err)
{
    const Argon__Branch__V1__WatchResponse *response;
    enum change_event event;
    struct arena arena;
    arena_init(&arena, 0);
    bool ok = change_stream_next(stream, &arena, &event, &response, err);
    interrupt_hold();
    if (ok && event == CHANGE_EVENT_CHANGES)
        ok = print_changes(follow, select, response, err);
    else if (ok && event != CHANGE_EVENT_AT_HEAD)
        print_restart(follow, event == CHANGE_EVENT_RESET ? "branch reset" : "log replaced by an older copy", stream->through_lsn);
    output_flush(&follow->cli->out);
    if (ok && !output_failed(&follow->cli->out))
        follow->shown_lsn = stream->through_lsn;
    *more = ok && event != CHANGE_EVENT_AT_HEAD && !output_failed(&follow->cli->out);
    interrupt_release();
    arena_destroy(&arena);
    return ok;
}

bool change_follow(struct cli *cli, const struct change_select *select, const Argon__Branch__V1__WatchRequest *request, struct error *err)
{
    /* until the end of the program: a signal can come whenever */
    struct follow *follow = arena_alloc(&cli->arena, sizeof *follow);
    struct change_stream stream;
    if (!follow)
        return error_out_of_memory(err);
    *follow = (struct follow) { .cli = cli, .shown_lsn = request->after_lsn };
    if (!change_stream_open(&stream, cli, request, err))
        return false;
    interrupt_begin(farewell, follow);
    bool ok = true;
    for (bool more = true; more;)
        ok = follow_once(follow, &stream, select, &more, err);
    change_stream_close(&stream);
    interrupt_hold(); /* and never released: what comes now ends the program by itself */
    if (!ok && err->code != ERROR_NOT_FOUND)
        say_how_to_go_on(follow);
    return ok;
}
