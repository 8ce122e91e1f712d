#include "wal-service/verify_command.h"

#include "wal-service/store/segment_verify.h"

struct output {
    FILE *file;
    bool json;
};

static void put_json_string(FILE *out, const char *s)
{
    putc('"', out);
    for (; *s; s++) {
        unsigned char c = (unsigned char)*s;
        if (c == '"' || c == '\\')
            fprintf(out, "\\%c", c);
        else if (c < 0x20)
            fprintf(out, "\\u%04x", c);
        else
            putc(c, out);
    }
    putc('"', out);
}

static bool is_ok(const struct segment_verdict *verdict)
{
    return verdict->damage.code == ERROR_OK && verdict->other_damage.code == ERROR_OK;
}

static void put_text(FILE *out, const struct segment_verdict *verdict)
{
    fprintf(out, "%s  %-10s  %llu groups  %llu batches  %llu entries  %llu bytes  ", verdict->name, segment_state_name(verdict->state),
            (unsigned long long)verdict->groups, (unsigned long long)verdict->frames, (unsigned long long)verdict->entries,
            (unsigned long long)verdict->bytes);
    fputs(is_ok(verdict) ? "ok" : "DAMAGED", out);
    if (verdict->damage.code != ERROR_OK)
        fprintf(out, ": %s", verdict->damage.message);
    if (verdict->other_damage.code != ERROR_OK)
        fprintf(out, ": %s (the next start makes it again)", verdict->other_damage.message);
    if (verdict->torn_bytes)
        fprintf(out, " (%llu bytes of a write that a crash interrupted; the next start drops them)",
                (unsigned long long)verdict->torn_bytes);
    if (verdict->footer_missing)
        fputs(" (no footer; the next start makes it)", out);
    putc('\n', out);
}

static void put_json(FILE *out, const struct segment_verdict *verdict)
{
    fprintf(out, "{\"segment\":%llu,\"file\":", (unsigned long long)verdict->id);
    put_json_string(out, verdict->name);
    fprintf(out, ",\"state\":\"%s\",\"groups\":%llu,\"batches\":%llu,\"entries\":%llu,\"bytes\":%llu,\"torn_bytes\":%llu,\"ok\":%s",
            segment_state_name(verdict->state), (unsigned long long)verdict->groups, (unsigned long long)verdict->frames,
            (unsigned long long)verdict->entries, (unsigned long long)verdict->bytes, (unsigned long long)verdict->torn_bytes,
            is_ok(verdict) ? "true" : "false");
    if (verdict->damage.code != ERROR_OK) {
        fputs(",\"damage\":", out);
        put_json_string(out, verdict->damage.message);
    }
    if (verdict->other_damage.code != ERROR_OK) {
        fputs(",\"repairable\":", out);
        put_json_string(out, verdict->other_damage.message);
    }
    fprintf(out, ",\"footer_missing\":%s}\n", verdict->footer_missing ? "true" : "false");
}

static void put_verdict(void *ctx, const struct segment_verdict *verdict)
{
    const struct output *output = ctx;
    (output->json ? put_json : put_text)(output->file, verdict);
}

bool verify_command(const char *directory, bool json, FILE *out, struct error *err)
{
    struct output output = { out, json };
    struct verify_summary summary;
    if (!segment_log_verify(directory, put_verdict, &output, &summary, err))
        return false;
    fprintf(out,
            json ? "{\"segments\":%llu,\"damaged\":%llu,\"groups\":%llu,\"batches\":%llu,\"entries\":%llu}\n"
                 : "%llu segments, %llu damaged; %llu groups, %llu batches, %llu entries\n",
            (unsigned long long)summary.segments, (unsigned long long)summary.damaged, (unsigned long long)summary.groups,
            (unsigned long long)summary.frames, (unsigned long long)summary.entries);
    return summary.damaged == 0;
}
