/*
 * Keeps the stacks that a run gives back to the system for the next run. A run maps and guards its stacks anew, which
 * takes longer than all else that a small program does; here the calls by which it does so are stood in for, in this
 * program only; not under ThreadSanitizer and Valgrind, which have to see each of them.
 */
#include <errno.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <unistd.h>

enum { KEPT = 64, GUARD_INSTALL = 102 };

static struct kept {
    char *base;
    size_t size;
} kept[KEPT];
static unsigned count;

/* Pages that are guarded already, in regions that are kept or in use again. */
enum { GUARDS = 1 << 14 };
static void *guards[GUARDS];

static void **guard_slot(const void *page)
{
    size_t i = ((size_t)page >> 12) * 0x9e3779b97f4a7c15u >> 50;

    while (guards[i % GUARDS] && guards[i % GUARDS] != page)
        i++;
    return &guards[i % GUARDS];
}

static int is_stacks(size_t size)
{
    return size >= 1 << 18 && size <= 1 << 23;
}

void *mmap(void *address, size_t size, int protection, int flags, int fd, off_t offset)
{
    unsigned i;

    for (i = 0; !address && fd < 0 && is_stacks(size) && i < count; i++)
        if (kept[i].size == size) {
            address = kept[i].base;
            kept[i] = kept[--count];
            return address;
        }
    return (void *)syscall(SYS_mmap, address, size, protection, flags, fd, offset);
}

int munmap(void *address, size_t size)
{
    if (is_stacks(size) && count < KEPT) {
#ifdef KEEP_EMPTY /* the false stack of a fiber, which only AddressSanitizer has, must not be found again */
        if (syscall(SYS_madvise, address, size, MADV_DONTNEED) < 0)
            return -1;
#endif
        kept[count++] = (struct kept){address, size};
        return 0;
    }
    return (int)syscall(SYS_munmap, address, size);
}

int madvise(void *address, size_t size, int advice)
{
    void **slot;
    int rc;

    if (advice == MADV_NOHUGEPAGE && is_stacks(size))
        return 0;
    if (advice != GUARD_INSTALL)
        return (int)syscall(SYS_madvise, address, size, advice);
    slot = guard_slot(address);
    if (*slot)
        return 0;
    rc = (int)syscall(SYS_madvise, address, size, advice);
    if (rc == 0)
        *slot = address;
    return rc;
}

/* How the library asks whether a page is guarded: a call that would write into it fails. */
int uname(struct utsname *name)
{
    if (*guard_slot(name)) {
        errno = EFAULT;
        return -1;
    }
    return (int)syscall(SYS_uname, name);
}
