/* Circular doubly linked lists of nodes that live inside other structs. A node alone points at itself. */
#ifndef OSIER_BASE_LIST_H
#define OSIER_BASE_LIST_H

#include <osier/base.h>

#define container_of(pointer, type, member) ((type *)(void *)((char *)(pointer)-offsetof(type, member)))

#define likely(condition)   __builtin_expect(!!(condition), 1)
#define unlikely(condition) __builtin_expect(!!(condition), 0)

static inline void list_init(struct osr_list_ *list)
{
    list->next = list->prev = list;
}

static inline bool list_empty(const struct osr_list_ *list)
{
    return list->next == list;
}

static inline void list_append(struct osr_list_ *list, struct osr_list_ *node)
{
    node->prev = list->prev;
    node->next = list;
    list->prev->next = node;
    list->prev = node;
}

/* Takes the node out of its list. What it points at means nothing then. */
static inline void list_unlink(struct osr_list_ *node)
{
    node->prev->next = node->next;
    node->next->prev = node->prev;
}

/* Takes the node out of whatever list it is in; alone again, it may be removed once more. */
static inline void list_remove(struct osr_list_ *node)
{
    list_unlink(node);
    list_init(node);
}

/* Puts `other` in the place of the node, which is then as if unlinked. One of the two was stored just now, if a neighbour
 * has been taken out, and one load of both would have to wait until that has reached the cache: so there is none. */
static inline void list_replace(struct osr_list_ *node, struct osr_list_ *other)
{
    struct osr_list_ *next = node->next, *prev;

    __asm__("" : "+r"(next));
    prev = node->prev;
    other->next = next;
    other->prev = prev;
    next->prev = other;
    prev->next = other;
}

/* Takes the first node out; NULL if the list is empty. */
static inline struct osr_list_ *list_pop(struct osr_list_ *list)
{
    struct osr_list_ *node = list->next;

    if (node == list)
        return NULL;
    list_remove(node);
    return node;
}

#endif
