/* What the pieces of C in README.md take for granted: see snippets.test.sh. Nothing of it is ever linked or run. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <osier.h>
#include <osier/attach.h>

struct job { int number, of; };
OSR_TASK(work, struct job, job) { return job->number; }
void do_job(struct job *job);

struct fetch { const char *url; };
OSR_TASK(fetch, struct fetch, f) { return f->url == NULL; }

struct file { char *path; struct osr_cleanup cleanup; };
int create(const char *path);

struct server { struct osr_address address; int fd; struct osr_group connections; };
OSR_TASK(accept_connections, struct server, server) { return server->fd; }
int accept_clients(struct server *server);
#ifdef SNIPPET_BODY /* which another piece defines */
OSR_TASK(serve, struct server, server) { return server->fd; }
#endif
int ask(struct server *server);

struct client { int fd; struct osr_semaphore *places; };
int answer(int fd);
int serve_request(int fd, const char *first, size_t size);
struct dial { struct osr_address address; int fd; };
#ifdef SNIPPET_BODY
OSR_TASK(talk, struct client, client) { return client->fd; }
#endif

struct tank { struct osr_lock lock; struct osr_condition risen; int level; };

struct lookup { const char *name; };
void lookup_begin(struct lookup *lookup, void (*answered)(void *arg, void *answer), void *arg);
void lookup_cancel(void *lookup);

struct page { const char *name; };
int draw(struct page *page, char *image, size_t room, size_t *size);
struct hash { int fd; char block[4096]; };
int add_block(struct hash *hash, ssize_t size);
#ifdef SNIPPET_BODY
OSR_TASK(render, struct page, page) { return page->name == NULL; }
OSR_JOB(hash_file, struct hash, hash) { return hash->fd; }
#endif
void told(void *bell, unsigned count);
struct config { const char *path; };
OSR_TASK(program, struct config, config) { return config->path == NULL; }
OSR_TASK(load, struct config, config) { return config->path == NULL; }
OSR_TASK(daemonize, struct config, config) { return config->path == NULL; }
void ended(void *arg, int rc);
void reload(void);

int say_goodbye(int fd);
void ring(void *bell);

/* A piece that is no definition becomes the body of a function between these. */
#define SNIPPET_BEGIN(name)                                                                                           \
    int name(struct osr_group group, struct osr_scope limit, struct osr_scope cleanup, struct osr_queue jobs,          \
             struct osr_queue orders, struct osr_event bell, struct server server, struct fetch *fetches,              \
             struct tank *tank, int wanted, int fd, char *buffer, size_t size, const char *path, int n);               \
    int name(struct osr_group group, struct osr_scope limit, struct osr_scope cleanup, struct osr_queue jobs,          \
             struct osr_queue orders, struct osr_event bell, struct server server, struct fetch *fetches,              \
             struct tank *tank, int wanted, int fd, char *buffer, size_t size, const char *path, int n)                \
    {                                                                                                                 \
        static char request_key;                                                                                      \
        static struct page page;                                                                                      \
        static struct config config;                                                                                  \
        struct osr_runner *runner;                                                                                    \
        struct osr_attachment tasks;                                                                                  \
        static struct hash hashes[1];                                                                                 \
        static char image[1];                                                                                         \
        struct osr_signals signals;                                                                                   \
        struct osr_post post;                                                                                         \
        struct osr_portal portal;                                                                                     \
        struct osr_task task;                                                                                         \
        struct osr_scope request;                                                                                     \
        struct osr_semaphore places;                                                                                  \
        static struct dial dials[1];                                                                                  \
        int64_t pause;                                                                                                \
        struct job job = {0};                                                                                         \
        int64_t order = 0;                                                                                            \
        int rc = 0, i, result, number, got, winner;                                                                   \
                                                                                                                      \
        (void)&group, (void)&limit, (void)&cleanup, (void)&jobs, (void)&orders, (void)&bell, (void)&server;           \
        (void)fetches, (void)tank, (void)wanted, (void)fd, (void)buffer, (void)size, (void)path, (void)n;             \
        (void)&request_key, (void)&task, (void)&job, (void)&order, (void)&rc, (void)i, (void)result;       \
        (void)&page, (void)&config, (void)&runner, (void)&tasks, (void)hashes, (void)image, (void)&signals, (void)&post, (void)&portal, (void)number;    \
        (void)&request, (void)&places, (void)dials, (void)pause, (void)got, (void)winner; {
#define SNIPPET_END } return rc; }
