#include "tests/support/sample_frames.h"

#include <stdio.h>
#include <stdlib.h>

#include "common/base/memory.h"

static void fill(uint8_t *at, size_t len, uint64_t seed)
{
    uint64_t x = seed * 0x9E3779B97F4A7C15u + 1;
    for (size_t i = 0; i < len; i++) {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        at[i] = (uint8_t)(x >> 24);
    }
}

void sample_init(struct sample *sample, const char *project, uint64_t first_lsn, size_t size)
{
    if (size < RUN_STAMP_BYTES)
        size = RUN_STAMP_BYTES;
    memset(sample, 0, sizeof *sample);
    snprintf(sample->project, sizeof sample->project, "%s", project);
    snprintf(sample->request, sizeof sample->request, "request-%llu", (unsigned long long)first_lsn);
    sample->memory = mem_alloc(SAMPLE_RUNS * size);
    uint64_t seed = first_lsn;
    for (const char *c = project; *c; c++)
        seed = seed * 131 + (uint8_t)*c;
    uint64_t lsn = first_lsn, timestamp = 1000000 + first_lsn;
    for (unsigned i = 0; i < SAMPLE_RUNS; i++) {
        uint8_t *encoded = sample->memory + i * size;
        fill(encoded, size, seed + i);
        frame_stamp_run(encoded, size, lsn, timestamp);
        snprintf(sample->branches[i], sizeof sample->branches[i], "b%u", (unsigned)(first_lsn % (3 - i)));
        snprintf(sample->collections[i], sizeof sample->collections[i], "c%u", (unsigned)(first_lsn % 5));
        sample->runs[i] = (struct frame_run) {
            .branch_id = bytes_of_string(sample->branches[i]),
            .collection = i == 0 ? bytes_of_string("users") : bytes_of_string(sample->collections[i]),
            .entries = i == 0 ? 1 + (uint32_t)(first_lsn % 3) : 1,
            .encoded = bytes_of(encoded, size),
        };
        lsn += sample->runs[i].entries;
        sample->keys[i] = seed * 77 + i;
    }
    sample->frame = (struct frame) {
        .project = bytes_of_string(sample->project),
        .first_lsn = first_lsn,
        .entries = (uint32_t)(lsn - first_lsn),
        .timestamp = timestamp,
        .request = { .id = bytes_of_string(sample->request),
                     .hash = bytes_of("hash", 4),
                     .step = 3,
                     .last = true,
                     .answer = bytes_of("done", 4) },
        .write_keys = sample->keys,
        .n_write_keys = 2,
        .runs = sample->runs,
        .n_runs = SAMPLE_RUNS,
    };
}

void sample_destroy(struct sample *sample)
{
    free(sample->memory);
    sample->memory = NULL;
}

bool sample_matches(const struct frame *frame)
{
    if (frame->n_runs != SAMPLE_RUNS || frame->project.len > MAX_PROJECT_ID_BYTES)
        return false;
    char project[MAX_PROJECT_ID_BYTES + 1] = "";
    memcpy(project, frame->project.data, frame->project.len);
    struct sample expected;
    sample_init(&expected, project, frame->first_lsn, frame->runs[0].encoded.len);
    struct buffer a = { 0 }, b = { 0 };
    frame_encode(&expected.frame, &a);
    frame_encode(frame, &b);
    bool same = bytes_equal(buffer_bytes(&a), buffer_bytes(&b));
    buffer_destroy(&a);
    buffer_destroy(&b);
    sample_destroy(&expected);
    return same;
}
