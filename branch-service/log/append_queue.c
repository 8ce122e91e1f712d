#include "branch-service/log/append_queue.h"

#include <stdlib.h>
#include <uthash.h>

#include "branch-service/branch_counters.h"
#include "common/base/clock.h"
#include "common/base/memory.h"
#include "common/base/sync.h"
#include "common/base/trace.h"

/* Groups of a project under way at a time. One small one: a second only splits what would have gone together, and costs
 * more than the log idles between them. Large ones have their own way, so that nobody waits behind a bulk load. */
enum { LARGE_GROUP_BYTES = 256 * 1024, MAX_UNDER_WAY_SMALL = 1, MAX_UNDER_WAY_LARGE = 2 };

/*  WAITING --taken--> LEAVING --the request is encoded--> SENT --the answer has come--> DONE  */
enum group_state { GROUP_WAITING, GROUP_LEAVING, GROUP_SENT, GROUP_DONE };

/* A writer that waits; on its stack. */
struct append_item {
    const struct log_batch *batch;
    size_t place;      /* in the group */
    struct mutex lock; /* rank 41; covers done */
    struct condition changed;
    bool done;
};

struct append_group {
    struct append_group *next;
    struct append_lane *lane;
    enum group_state state;
    unsigned users; /* writers, and who sends it */
    struct log_incarnation incarnation;
    int64_t deadline;
    struct trace trace; /* of the first writer that has one */
    size_t bytes;
    size_t n;
    const struct append_answer *answers; /* from DONE on, like what follows */
    struct error failure;
    void (*released)(void *kept);
    void *kept;
    struct append_item *items[MAX_GROUP_BATCHES]; /* NULL: its writer has left after the group was sent */
};

/* Of one project; there while it is in use. */
struct append_lane {
    UT_hash_handle hh;
    struct append_queue *queue;
    unsigned users;
    unsigned under_way[2];             /* small, large */
    struct append_group *first, *last; /* forming, in the order in which they will go */
    char project[];
};

struct append_queue {
    append_send_fn *send;
    void *ctx;
    struct mutex lock; /* rank 40; covers lanes and groups */
    struct condition left;
    unsigned in_a_hurry; /* who wait for LEAVING to pass, or for everything to end */
    struct append_lane *lanes;
};

struct append_queue *append_queue_new(append_send_fn *send, void *ctx)
{
    struct append_queue *queue = mem_zalloc(sizeof *queue);
    queue->send = send;
    queue->ctx = ctx;
    mutex_init(&queue->lock, 40);
    condition_init(&queue->left);
    return queue;
}

void append_queue_free(struct append_queue *queue)
{
    if (!queue)
        return;
    /* a writer that left does not wait for the answer, but the answer comes here */
    mutex_lock(&queue->lock);
    queue->in_a_hurry++;
    while (queue->lanes)
        condition_wait(&queue->left, &queue->lock);
    mutex_unlock(&queue->lock);
    condition_destroy(&queue->left);
    mutex_destroy(&queue->lock);
    free(queue);
}

const char *append_group_project(const struct append_group *group)
{
    return group->lane->project;
}

const struct log_incarnation *append_group_incarnation(const struct append_group *group)
{
    return &group->incarnation;
}

size_t append_group_size(const struct append_group *group)
{
    return group->n;
}

const struct log_batch *append_group_batch(const struct append_group *group, size_t i)
{
    return group->items[i]->batch;
}

int64_t append_group_deadline(const struct append_group *group)
{
    return group->deadline;
}

/* ---- lanes and groups ------------------------------------------------------------------------------- */

static struct append_lane *enter_lane_locked(struct append_queue *queue, const char *project)
{
    struct append_lane *lane;
    HASH_FIND_STR(queue->lanes, project, lane);
    if (!lane) {
        size_t len = strlen(project);
        lane = mem_zalloc(sizeof *lane + len + 1);
        lane->queue = queue;
        memcpy(lane->project, project, len + 1);
        HASH_ADD_STR(queue->lanes, project, lane);
    }
    lane->users++;
    return lane;
}

static void leave_lane_locked(struct append_lane *lane)
{
    if (--lane->users > 0)
        return;
    HASH_DEL(lane->queue->lanes, lane);
    free(lane);
}

static size_t batch_bytes(const struct log_batch *batch)
{
    size_t bytes = 0;
    for (size_t i = 0; i < batch->n_runs; i++)
        for (size_t k = 0; k < batch->runs[i].n_entries; k++)
            bytes += batch->runs[i].entries[k].document_id.len + batch->runs[i].entries[k].document.len;
    return bytes;
}

static bool fits(const struct append_group *group, const struct log_incarnation *incarnation, size_t bytes)
{
    return group && group->n < MAX_GROUP_BATCHES && group->bytes + bytes <= MAX_GROUP_BYTES &&
           memcmp(&group->incarnation, incarnation, sizeof *incarnation) == 0;
}

static struct append_group *join_group_locked(struct append_lane *lane, const struct log_incarnation *incarnation, struct append_item *item,
                                              int64_t deadline)
{
    size_t bytes = batch_bytes(item->batch);
    struct append_group *group = lane->last;
    if (!fits(group, incarnation, bytes)) {
        group = mem_zalloc(sizeof *group);
        group->lane = lane;
        group->incarnation = *incarnation;
        group->users = 1; /* the lane, and then who sends it */
        *(lane->last ? &lane->last->next : &lane->first) = group;
        lane->last = group;
    }
    if (!group->trace.parent[0])
        group->trace = *trace_current();
    item->place = group->n;
    group->items[group->n++] = item;
    group->bytes += bytes;
    group->users++;
    if (group->deadline < deadline)
        group->deadline = deadline;
    return group;
}

/* Its group has not been taken: as if it had never come. A group that nobody is left in goes when its turn comes. */
static void withdraw_locked(struct append_group *group, struct append_item *item)
{
    struct append_item *last = group->items[--group->n];
    group->items[item->place] = last;
    last->place = item->place;
    group->bytes -= batch_bytes(item->batch);
}

static void drop_user_locked(struct append_group *group)
{
    if (--group->users > 0)
        return;
    if (group->released)
        group->released(group->kept);
    free(group);
}

static bool is_large(const struct append_group *group)
{
    return group->bytes > LARGE_GROUP_BYTES;
}

static bool may_go(const struct append_lane *lane, const struct append_group *group)
{
    bool large = is_large(group);
    return lane->under_way[large] < (large ? MAX_UNDER_WAY_LARGE : MAX_UNDER_WAY_SMALL);
}

/* The next group that may go, or NULL. */
static struct append_group *take_group_locked(struct append_lane *lane)
{
    while (lane->first && may_go(lane, lane->first)) {
        struct append_group *group = lane->first;
        lane->first = group->next;
        if (!lane->first)
            lane->last = NULL;
        group->next = NULL;
        if (group->n == 0) {
            drop_user_locked(group);
            continue;
        }
        group->state = GROUP_LEAVING;
        lane->under_way[is_large(group)]++;
        lane->users++;
        return group;
    }
    return NULL;
}

static void send_group(struct append_queue *queue, struct append_group *group)
{
    mutex_lock(&queue->lock);
    group->users++; /* it may be answered before send returns */
    mutex_unlock(&queue->lock);
    histogram_number(&branch_counters.group_batches, group->n);
    const struct trace before = *trace_current(); /* whoever brought the last answer sends for others */
    trace_set(&group->trace);
    queue->send(queue->ctx, group);
    trace_set(&before);
    mutex_lock(&queue->lock);
    if (group->state == GROUP_LEAVING)
        group->state = GROUP_SENT;
    if (queue->in_a_hurry)
        condition_broadcast(&queue->left);
    drop_user_locked(group);
    mutex_unlock(&queue->lock);
}

void append_group_done(struct append_group *group, const struct append_answer *answers, const struct error *failure,
                       void (*released)(void *kept), void *kept)
{
    struct append_lane *lane = group->lane;
    struct append_queue *queue = lane->queue;
    mutex_lock(&queue->lock);
    group->answers = answers;
    if (failure)
        group->failure = *failure;
    group->released = released;
    group->kept = kept;
    group->state = GROUP_DONE;
    lane->under_way[is_large(group)]--;
    struct append_group *next = take_group_locked(lane);
    mutex_unlock(&queue->lock);
    /* the log first: it may work while the writers wake up */
    if (next)
        send_group(queue, next);
    for (size_t i = 0; i < group->n; i++) {
        struct append_item *item = group->items[i]; /* nobody leaves a group that is DONE before it is told */
        if (!item)
            continue;
        mutex_lock(&item->lock);
        item->done = true;
        condition_signal(&item->changed);
        mutex_unlock(&item->lock);
    }
    mutex_lock(&queue->lock);
    drop_user_locked(group);
    leave_lane_locked(lane);
    if (queue->in_a_hurry)
        condition_broadcast(&queue->left);
    mutex_unlock(&queue->lock);
}

/* ---- a writer --------------------------------------------------------------------------------------- */

static bool wait_for_answer(struct append_item *item, int64_t deadline)
{
    bool in_time = true;
    mutex_lock(&item->lock);
    while (!item->done && in_time)
        in_time = condition_wait_until(&item->changed, &item->lock, deadline);
    bool done = item->done;
    mutex_unlock(&item->lock);
    return done;
}

/* The deadline has passed. False: the answer has come in the meantime. */
static bool leave_group(struct append_queue *queue, struct append_group *group, struct append_item *item, struct error *err)
{
    bool left = true;
    mutex_lock(&queue->lock);
    while (group->state == GROUP_LEAVING) {
        queue->in_a_hurry++;
        condition_wait(&queue->left, &queue->lock);
        queue->in_a_hurry--;
    }
    error_set(err, ERROR_DEADLINE_EXCEEDED, "deadline passed while the batch was appended");
    if (group->state == GROUP_WAITING) {
        withdraw_locked(group, item);
        err->outcome = OUTCOME_NOT_APPLIED;
    } else if (group->state == GROUP_SENT) {
        group->items[item->place] = NULL;
    } else {
        left = false;
    }
    mutex_unlock(&queue->lock);
    return left;
}

static bool copy_bytes(struct arena *arena, struct bytes *bytes)
{
    void *copy = arena_copy(arena, bytes->data, bytes->len);
    *bytes = bytes_of(copy, bytes->len);
    return copy != NULL;
}

/* What the result points to lives in the writer's arena afterwards. */
static bool own_result(struct arena *arena, struct log_append_result *result)
{
    struct log_request *step = &result->earlier.step;
    if (result->repeated && (!copy_bytes(arena, &step->id) || !copy_bytes(arena, &step->hash) ||
                             !copy_bytes(arena, &step->last_document_id) || !copy_bytes(arena, &step->answer)))
        return false;
    struct log_key *conflicts = arena_copy(arena, result->conflicts, result->n_conflicts * sizeof *conflicts);
    if (!conflicts)
        return false;
    for (size_t i = 0; i < result->n_conflicts; i++) {
        conflicts[i].branch_id = arena_strdup(arena, conflicts[i].branch_id);
        conflicts[i].collection = arena_strdup(arena, conflicts[i].collection);
        if (!conflicts[i].branch_id || !conflicts[i].collection || !copy_bytes(arena, &conflicts[i].document_id))
            return false;
    }
    result->conflicts = conflicts;
    return true;
}

static bool take_answer(const struct append_group *group, const struct append_item *item, struct arena *arena,
                        struct log_append_result *result, struct error *err)
{
    if (!group->answers) {
        *err = group->failure;
        return false;
    }
    const struct append_answer *answer = &group->answers[item->place];
    *result = answer->result;
    if (!own_result(arena, result))
        return error_out_of_memory(err); /* outcome unknown */
    if (!answer->ok)
        *err = answer->err;
    return answer->ok;
}

bool append_queue_submit(struct append_queue *queue, const char *project, const struct log_incarnation *incarnation,
                         const struct log_batch *batch, int64_t deadline, struct arena *arena, struct log_append_result *result,
                         struct error *err)
{
    struct append_item item = { .batch = batch };
    int64_t begun = clock_monotonic_micros();
    counter_add(&branch_counters.appends_begun, 1);
    mutex_init(&item.lock, 41);
    condition_init(&item.changed);
    mutex_lock(&queue->lock);
    struct append_lane *lane = enter_lane_locked(queue, project);
    struct append_group *group = join_group_locked(lane, incarnation, &item, deadline);
    struct append_group *mine = take_group_locked(lane);
    mutex_unlock(&queue->lock);
    if (mine)
        send_group(queue, mine);
    bool answered = wait_for_answer(&item, deadline);
    if (!answered && !leave_group(queue, group, &item, err))
        answered = wait_for_answer(&item, NO_DEADLINE);
    bool ok = answered && take_answer(group, &item, arena, result, err);
    mutex_lock(&queue->lock);
    drop_user_locked(group);
    leave_lane_locked(lane);
    mutex_unlock(&queue->lock);
    condition_destroy(&item.changed);
    mutex_destroy(&item.lock);
    histogram_micros(&branch_counters.append, clock_monotonic_micros() - begun);
    counter_add(&branch_counters.appends_ended, 1);
    return ok;
}
