#include "tests/simulator/model.h"

#include <stdlib.h>

#include "common/base/memory.h"
#include "wal-service/key_hash.h"

void model_destroy(struct model *model)
{
    for (int i = 0; i < PROJECTS; i++)
        free(model->projects[i].batches);
}

void model_add(struct model *model, int index, const struct model_batch *batch)
{
    struct model_project *project = &model->projects[index];
    if (project->n == project->capacity) {
        project->capacity = project->capacity ? 2 * project->capacity : 64;
        project->batches = mem_realloc(project->batches, project->capacity * sizeof *project->batches);
    }
    project->batches[project->n++] = *batch;
}

uint64_t model_head(const struct model *model, int index)
{
    const struct model_project *project = &model->projects[index];
    return project->n ? project->batches[project->n - 1].last_lsn : 0;
}

uint64_t model_written(const struct model *model, int index, uint32_t keys)
{
    const struct model_project *project = &model->projects[index];
    for (size_t i = project->n; i > 0; i--)
        if ((project->batches[i - 1].touched | project->batches[i - 1].written) & keys)
            return project->batches[i - 1].last_lsn;
    return 0;
}

const struct model_batch *model_request(const struct model *model, int index, int request)
{
    const struct model_project *project = &model->projects[index];
    for (size_t i = project->n; i > 0; i--)
        if (project->batches[i - 1].request == request)
            return &project->batches[i - 1];
    return NULL;
}

uint64_t frame_digest(const struct frame *frame)
{
    uint64_t hash = XXH3_64bits_withSeed(frame->project.data, frame->project.len, frame->first_lsn);
    hash = XXH3_64bits_withSeed(&frame->timestamp, sizeof frame->timestamp, hash);
    hash = XXH3_64bits_withSeed(&frame->entries, sizeof frame->entries, hash);
    const struct request_step *step = &frame->request;
    const struct bytes parts[4] = { step->id, step->hash, step->last_document_id, step->answer };
    for (size_t i = 0; i < 4; i++)
        hash = XXH3_64bits_withSeed(parts[i].data, parts[i].len, hash + parts[i].len);
    hash += step->id.len ? step->step * 2u + step->last : 0;
    hash = XXH3_64bits_withSeed(frame->write_keys, frame->n_write_keys * sizeof frame->write_keys[0], hash);
    for (size_t i = 0; i < frame->n_runs; i++) {
        const struct frame_run *run = &frame->runs[i];
        hash = XXH3_64bits_withSeed(run->branch_id.data, run->branch_id.len, hash);
        hash = XXH3_64bits_withSeed(run->collection.data, run->collection.len, hash);
        hash = XXH3_64bits_withSeed(run->encoded.data, run->encoded.len, hash);
    }
    return hash;
}
