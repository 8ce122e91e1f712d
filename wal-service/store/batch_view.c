#include "wal-service/store/batch_view.h"

static uint32_t number_at(const struct batch_list *list, uint32_t i)
{
    return list ? get_u32(list->numbers + 4 * (size_t)i) : i;
}

/* The first place whose batch ends beyond lsn; the number of places if none does. */
static uint32_t first_ending_after(const struct batch_view *view, const struct batch_list *list, uint64_t lsn)
{
    uint32_t low = 0, high = list ? list->n : view->n;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (batch_last_lsn(view, number_at(list, middle)) > lsn)
            high = middle;
        else
            low = middle + 1;
    }
    return low;
}

static bool head_before(const struct batch_view *view, uint32_t i, struct log_head *found)
{
    if (i == 0)
        return false;
    *found = (struct log_head) { batch_last_lsn(view, i - 1), batch_timestamp(view, i - 1) };
    return true;
}

bool batch_view_find_end(const struct batch_view *view, uint64_t lsn, struct log_head *found)
{
    return head_before(view, first_ending_after(view, NULL, lsn), found);
}

bool batch_view_find_time(const struct batch_view *view, uint64_t micros, struct log_head *found)
{
    uint32_t low = 0, high = view->n;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (batch_timestamp(view, middle) > micros)
            high = middle;
        else
            low = middle + 1;
    }
    return head_before(view, low, found);
}

size_t batch_view_collect(const struct batch_view *view, const struct batch_list *list, uint32_t segment, uint64_t after, uint64_t through,
                          struct indexed_frame *out, size_t max)
{
    size_t found = 0;
    uint32_t n = list ? list->n : view->n;
    for (uint32_t i = first_ending_after(view, list, after); i < n && found < max; i++) {
        uint32_t number = number_at(list, i);
        uint64_t last_lsn = batch_last_lsn(view, number);
        if (last_lsn > through)
            break;
        const uint8_t *record = batch_record(view, number);
        out[found++] = (struct indexed_frame) { get_u64(record), last_lsn, { segment, get_u32(record + 16), get_u32(record + 20) } };
    }
    return found;
}
