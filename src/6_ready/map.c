/* Many jobs at once: a task for each, in a group with a limit. */
#include "0_base/text.h"
#include "2_sched/sched.h"

#include <osier/thread.h>

#include <limits.h>

enum { SIMULATED_LIMIT = 8 }; /* not what this machine happens to have */

struct map {
    const struct osr_routine *job;
    char *items;
    size_t stride;
    int *results;
    const char *where;
};

struct item {
    const struct map *map;
    size_t index;
};

static int offload_item(void *arg)
{
    const struct item *item = arg;
    const struct map *map = item->map;
    const struct osr_offload_options options = {.size = sizeof(options), .where = map->where};
    int rc = osr_offload_with(map->job, map->items + item->index * map->stride, &options);

    if (map->results)
        map->results[item->index] = rc;
    return rc;
}

static int spawn_all(struct osr_group *group, const struct map *map, size_t count)
{
    const struct osr_routine routine = {offload_item, map->job->name, map->where};
    const struct osr_spawn_options options = {
        .size = sizeof(options), .where = map->where, .copy = sizeof(struct item)};
    size_t i;
    int rc = 0;

    for (i = 0; i < count && rc == 0; i++)
        rc = osr_spawn_with(group, &routine, &(struct item){map, i}, &options);
    return rc;
}

static int limit_of(const struct osr_map_options *options)
{
    unsigned size = osr_pool_size();

    if (options->limit > 0)
        return options->limit;
    if (osri_sched->driver == &osri_driver_sim)
        return SIMULATED_LIMIT;
    return size < INT_MAX ? (int)size : INT_MAX;
}

static bool makes_sense(const struct osr_routine *job, const void *items, size_t count, size_t stride,
                        const struct osr_map_options *options)
{
    return job && job->run && (items || count == 0) && (stride == 0 || count <= SIZE_MAX / stride) &&
           options->size == sizeof(*options) && options->limit >= 0;
}

int osr_map_with(const struct osr_routine *job, void *items, size_t count, size_t stride,
                 const struct osr_map_options *options)
{
    static const struct osr_map_options none = {.size = sizeof(none)};
    struct osr_group group;
    struct map map;
    bool sense;
    size_t i;
    int rc;

    if (!options)
        options = &none;
    sense = makes_sense(job, items, count, stride, options);
    for (i = 0; sense && options->results && i < count; i++)
        options->results[i] = -ECANCELED; /* before the call may be refused, which leaves none to have begun */
    rc = osri_enter(osri_sched, options->where);
    if (rc < 0)
        return rc;
    if (!sense)
        return osri_failed(-EINVAL, options->where);
    map = (struct map){job, items, stride, options->results, place_or_unknown(options->where)};
    rc = osr_group_open_with(&group, &(const struct osr_group_options){.size = sizeof(struct osr_group_options),
                                                                       .where = options->where,
                                                                       .name = options->name,
                                                                       .limit = limit_of(options)});
    if (rc == 0)
        rc = spawn_all(&group, &map, count);
    if (count == 0)
        osri_at_once(osri_sched);
    return osr_group_close_here(&group, rc, options->where);
}
