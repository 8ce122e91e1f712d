#include "cli/import_state.h"

#include <errno.h>
#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The numbers of the state, a line each. */
static const struct {
    const char *name;
    size_t at;
} numbers[] = {
    { "batches", offsetof(struct import_state, batches) },
    { "lsn", offsetof(struct import_state, lsn) },
    { "read", offsetof(struct import_state, read) },
    { "inserted", offsetof(struct import_state, inserted) },
    { "replaced", offsetof(struct import_state, replaced) },
    { "skipped", offsetof(struct import_state, skipped) },
    { "failed", offsetof(struct import_state, failed) },
    { "line", offsetof(struct import_state, done) + offsetof(struct input_place, line) },
    { "offset", offsetof(struct import_state, done) + offsetof(struct input_place, offset) },
    { "digest", offsetof(struct import_state, done) + offsetof(struct input_place, digest) },
};

static const char format_line[] = "argon import 1";

static bool take_text(const char *line, const char *name, char *out, size_t size)
{
    size_t len = strlen(name);
    if (strncmp(line, name, len) != 0 || line[len] != ' ' || strlen(line + len + 1) >= size)
        return false;
    strcpy(out, line + len + 1);
    return true;
}

static bool take_number(const char *line, struct import_state *state)
{
    for (size_t i = 0; i < ARRAY_LEN(numbers); i++) {
        char text[24], *end;
        if (!take_text(line, numbers[i].name, text, sizeof text))
            continue;
        uint64_t value = strtoull(text, &end, 10);
        memcpy((char *)state + numbers[i].at, &value, sizeof value);
        return *end == '\0';
    }
    return false;
}

/* The lines end with "end": a file that was cut off is not taken for a whole one. */
static bool parse(char *text, struct import_state *state)
{
    bool ok = true, ended = false;
    unsigned number = 0;
    for (char *line; ok && !ended && (line = strsep(&text, "\n")); number++) {
        char clean[4];
        if (number == 0)
            ok = strcmp(line, format_line) == 0;
        else if (strcmp(line, "end") == 0)
            ended = text != NULL; /* with its end of line */
        else if (take_text(line, "clean", clean, sizeof clean))
            state->clean = clean[0] == '1';
        else
            ok = take_text(line, "request_id", state->request_id, sizeof state->request_id) ||
                 take_text(line, "settings", state->settings, sizeof state->settings) ||
                 take_text(line, "collection_id", state->collection_id, sizeof state->collection_id) || take_number(line, state);
    }
    return ok && ended;
}

bool import_state_open(struct import_state *state, const char *file, const char *project_id, const char *branch_id, const char *collection,
                       bool *found, struct error *err)
{
    *found = false;
    *state = (struct import_state) { .file.lock_fd = -1, .done = { .line = 1 } };
    char *real = realpath(file, NULL);
    if (!real)
        return error_set_errno(err, error_code_of_file(errno), errno, "cannot find '%s'", file);
    const char *const parts[] = { real, project_id, branch_id, collection };
    char what[256];
    struct buffer text;
    snprintf(what, sizeof what, "import of '%.200s' into this collection", file);
    bool ok = resume_file_open(&state->file, "import", parts, ARRAY_LEN(parts), what, &text, err);
    free(real);
    if (!ok || !text.data)
        return ok;
    text.data[text.len] = '\0'; /* it has room */
    *found = true;
    ok = parse((char *)text.data, state) ||
         error_set(err, ERROR_FAILED_PRECONDITION,
                   "the state of an interrupted import, '%s', is damaged or of another version; once it is removed, the import "
                   "begins anew",
                   state->file.path);
    buffer_destroy(&text);
    if (!ok)
        import_state_close(state);
    return ok;
}

static void append_line(struct buffer *text, const char *name, const char *value)
{
    buffer_append(text, name, strlen(name));
    buffer_append(text, " ", 1);
    buffer_append(text, value, strlen(value));
    buffer_append(text, "\n", 1);
}

bool import_state_save(const struct import_state *state, struct error *err)
{
    struct buffer text = { 0 };
    if (!state->file.path)
        return true;
    buffer_append(&text, format_line, strlen(format_line));
    buffer_append(&text, "\n", 1);
    append_line(&text, "request_id", state->request_id);
    append_line(&text, "settings", state->settings);
    append_line(&text, "collection_id", state->collection_id);
    append_line(&text, "clean", state->clean ? "1" : "0");
    for (size_t i = 0; i < ARRAY_LEN(numbers); i++) {
        uint64_t value;
        char digits[24];
        memcpy(&value, (const char *)state + numbers[i].at, sizeof value);
        snprintf(digits, sizeof digits, "%" PRIu64, value);
        append_line(&text, numbers[i].name, digits);
    }
    buffer_append(&text, "end\n", 4);
    bool ok = text.failed ? error_out_of_memory(err) : resume_file_save(&state->file, buffer_bytes(&text), err);
    buffer_destroy(&text);
    return ok || error_wrap(err, "the state of the import");
}

void import_state_remove(const struct import_state *state)
{
    resume_file_remove(&state->file);
}

void import_state_close(struct import_state *state)
{
    resume_file_close(&state->file);
    *state = (struct import_state) { .file.lock_fd = -1 };
}
