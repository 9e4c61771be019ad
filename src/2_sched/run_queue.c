#include "2_sched/run_queue.h"

#include <assert.h>
#include <limits.h>

void osri_run_queue_open(struct run_queue *queue, struct task **few)
{
    *queue = (struct run_queue){.ring = few, .few = few, .mask = FEW_TASKS - 1};
}

static void free_ring(struct run_queue *queue, struct task **ring, const struct memory *memory)
{
    if (ring != queue->few)
        osri_free(memory, ring);
}

void osri_run_queue_close(struct run_queue *queue, const struct memory *memory)
{
    assert(run_queue_is_empty(queue));
    free_ring(queue, queue->ring, memory);
}

int osri_run_queue_grow(struct run_queue *queue, const struct memory *memory)
{
    unsigned mask = 2 * queue->mask + 1, i;
    struct task **ring;

    if (mask > UINT_MAX / 4)
        return -ENOMEM;
    ring = osri_resize(memory, NULL, (mask + (size_t)1) * sizeof(*ring));
    if (!ring)
        return -ENOMEM;
    for (i = queue->first; i != queue->next; i++)
        ring[i & mask] = queue->ring[i & queue->mask];
    free_ring(queue, queue->ring, memory);
    queue->ring = ring;
    queue->mask = mask;
    return 0;
}

struct task *osri_run_queue_take(struct run_queue *queue, unsigned ahead)
{
    struct task *task = run_queue_peek(queue, ahead);

    for (; ahead > 0; ahead--)
        queue->ring[(queue->first + ahead) & queue->mask] = run_queue_peek(queue, ahead - 1);
    queue->head = queue->ring[++queue->first & queue->mask];
    return task;
}
