/* Open-loop load on an HTTP server over the loopback interface, from one thread; compiled and run by overload.py.
 *
 * Arrivals have a constant rate. Each one takes the connection that has been free for longest; with none free, it is
 * counted as unsent. An impatient client closes its connection when the response is not complete in time, and connects
 * again. A rate of 0 is a closed loop: each connection sends as soon as it is free. Probes are requests of their own,
 * on connections of their own, at fixed intervals.
 *
 * Usage: overload_client PORT CONNECTIONS RATE WARM SECONDS PATIENCE REQUEST [HEALTH_PORT]
 *   RATE in arrivals per second; WARM, SECONDS and PATIENCE in seconds, PATIENCE 0 for clients that wait for ever;
 *   REQUEST is a file with the bytes of a request. The result is one line of JSON.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define GOOD_SECONDS 0.250
#define HEAD_BYTES 2048
#define PROBES 3
#define BURST 64

enum state { CLOSED, CONNECTING, FREE, BUSY };

struct connection {
    int fd;
    enum state state;
    int probe; /* index of the probe, or -1 */
    uint32_t turn;
    double since;
    int have;
    long missing;
    int status;
    int closes;
    char head[HEAD_BYTES];
};

struct probe {
    const char *request;
    double interval, due, longest, sum;
    long count, failed;
    int reconnects, port;
};

struct sent {
    uint32_t index, turn;
    double since;
};

struct times {
    double *values;
    long count, room;
};

static struct connection *all;
static int connections, poller, port, counting;
static uint32_t *free_ring;
static uint32_t free_head, free_tail, free_mask;
static struct sent *sent_ring;
static uint32_t sent_head, sent_tail, sent_mask;
static char *request;
static size_t request_bytes;
static double patience, window_start, window_end;
static struct times answered, refused;
static long sent_count, unsent, left_count, good, late, other, broken, connects, connect_failures;

static struct probe probes[PROBES] = {
    {"GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n", 0.025, 0, 0, 0, 0, 0, 0, 0},
    {"GET /health/ready HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", 0.025, 0, 0, 0, 0, 0, 1, 0},
    {"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n", 0.250, 0, 0, 0, 0, 0, 0, 0},
};

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + t.tv_nsec * 1e-9;
}

static void fail(const char *what) {
    perror(what);
    exit(1);
}

static void keep(struct times *times, double value) {
    if (times->count == times->room) {
        times->room = times->room ? times->room * 2 : 1 << 16;
        if (!(times->values = realloc(times->values, times->room * sizeof(double)))) fail("realloc");
    }
    times->values[times->count++] = value;
}

static uint32_t power(uint32_t least) {
    uint32_t size = 1;
    while (size < least) size *= 2;
    return size;
}

static void push_free(uint32_t index) { free_ring[free_tail++ & free_mask] = index; }

static void open_connection(uint32_t index, int to) {
    struct connection *c = &all[index];
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(to)};
    struct epoll_event event = {.events = EPOLLIN | EPOLLOUT, .data.u32 = index};
    int one = 1;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    if (c->fd < 0) fail("socket");
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    c->state = CONNECTING;
    c->turn++;
    if (c->probe < 0) c->since = now();
    connects++;
    if (connect(c->fd, (struct sockaddr *)&address, sizeof address) < 0 && errno != EINPROGRESS) {
        connect_failures++;
        close(c->fd);
        c->state = CLOSED;
        return;
    }
    if (epoll_ctl(poller, EPOLL_CTL_ADD, c->fd, &event) < 0) fail("epoll_ctl");
}

static void close_connection(uint32_t index) {
    struct connection *c = &all[index];
    close(c->fd);
    c->state = CLOSED;
    c->turn++;
}

static void reopen(uint32_t index) {
    close_connection(index);
    open_connection(index, port);
}

static void send_request(uint32_t index, const char *bytes, size_t size) {
    struct connection *c = &all[index];
    c->state = BUSY;
    c->have = 0;
    c->missing = -1;
    c->closes = 0;
    c->turn++;
    if (send(c->fd, bytes, size, MSG_NOSIGNAL) != (ssize_t)size) {
        if (c->probe >= 0) return; /* the end of the connection is reported by epoll */
        broken += counting;
        reopen(index);
        return;
    }
    if (c->probe < 0) {
        c->since = now();
        if (patience > 0) sent_ring[sent_tail++ & sent_mask] = (struct sent){index, c->turn, c->since};
    }
}

static void end_probe(struct connection *c, double moment) {
    struct probe *probe = &probes[c->probe];
    double took = moment - c->since;
    if (c->since >= window_start && c->since < window_end) {
        probe->count++;
        probe->sum += took;
        if (took > probe->longest) probe->longest = took;
        if (c->status != 200) probe->failed++;
    }
}

static void end_response(uint32_t index) {
    struct connection *c = &all[index];
    double moment = now();
    if (c->probe >= 0) {
        end_probe(c, moment);
        if (c->closes) close_connection(index);
        else c->state = FREE;
        return;
    }
    if (c->since >= window_start && c->since < window_end) {
        double took = moment - c->since;
        if (c->status == 200) {
            keep(&answered, took);
            if (took <= GOOD_SECONDS) good++;
            else late++;
        } else if (c->status == 503) keep(&refused, took);
        else other++;
    }
    if (c->closes) {
        reopen(index);
        return;
    }
    c->state = FREE;
    push_free(index);
}

static void lose(uint32_t index) {
    struct connection *c = &all[index];
    if (c->probe >= 0) {
        if (c->state != FREE) {
            c->status = 0;
            end_probe(c, now());
        }
        close_connection(index);
        return;
    }
    if (c->state == BUSY && c->since >= window_start && c->since < window_end) broken++;
    reopen(index);
}

static void receive(uint32_t index) {
    static char buffer[1 << 18];
    struct connection *c = &all[index];
    ssize_t got = recv(c->fd, buffer, sizeof buffer, 0);
    char *data = buffer, *end, *length;
    if (got < 0 && (errno == EAGAIN || errno == EINTR)) return;
    if (got <= 0 || c->state != BUSY) {
        lose(index);
        return;
    }
    if (c->missing < 0) {
        if (c->have || !(end = memmem(data, got, "\r\n\r\n", 4))) {
            size_t part = (size_t)got < sizeof c->head - c->have ? (size_t)got : sizeof c->head - c->have;
            memcpy(c->head + c->have, data, part);
            c->have += part;
            if (!(end = memmem(c->head, c->have, "\r\n\r\n", 4))) return;
            data = c->head;
            got = c->have + (got - (ssize_t)part);
        }
        c->status = atoi(data + 9);
        *end = 0;
        length = strcasestr(data, "\r\ncontent-length:");
        c->closes = strcasestr(data, "\r\nconnection: close") != NULL;
        c->missing = (length ? atol(length + 17) : 0) - (got - (end + 4 - data));
    } else c->missing -= got;
    if (c->missing <= 0) end_response(index);
}

static void handle(struct epoll_event *event) {
    uint32_t index = event->data.u32;
    struct connection *c = &all[index];
    if (c->state == CONNECTING) {
        struct epoll_event change = {.events = EPOLLIN, .data.u32 = index};
        int error = 0;
        socklen_t size = sizeof error;
        getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &error, &size);
        if (error || (event->events & (EPOLLERR | EPOLLHUP))) {
            connect_failures++;
            lose(index);
            return;
        }
        if (!(event->events & EPOLLOUT)) return;
        epoll_ctl(poller, EPOLL_CTL_MOD, c->fd, &change);
        if (c->probe >= 0) send_request(index, probes[c->probe].request, strlen(probes[c->probe].request));
        else {
            c->state = FREE;
            push_free(index);
        }
    } else if (c->state != CLOSED) receive(index);
}

static void start_probes(double moment) {
    for (int i = 0; i < PROBES; i++) {
        uint32_t index = connections + i;
        struct connection *c = &all[index];
        if (moment < probes[i].due || c->state == BUSY || c->state == CONNECTING) continue;
        probes[i].due = moment + probes[i].interval;
        c->since = moment;
        if (c->state == FREE) send_request(index, probes[i].request, strlen(probes[i].request));
        else open_connection(index, probes[i].port);
    }
}

static void leave(double moment) {
    while (sent_head != sent_tail) {
        struct sent *oldest = &sent_ring[sent_head & sent_mask];
        struct connection *c = &all[oldest->index];
        if (c->state == BUSY && c->turn == oldest->turn) {
            if (moment - oldest->since < patience) return;
            if (c->since >= window_start && c->since < window_end) left_count++;
            reopen(oldest->index);
        }
        sent_head++;
    }
}

/* A free connection; its entry is stale if the connection was closed or used since. */
static int pop_free(uint32_t *index) {
    while (free_head != free_tail) {
        *index = free_ring[free_head++ & free_mask];
        if (all[*index].state == FREE) return 1;
    }
    return 0;
}

static int compare(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

static double quantile(struct times *times, double share) {
    if (!times->count) return 0;
    return times->values[(long)(share * (times->count - 1))] * 1000;
}

static void read_request(const char *name) {
    FILE *file = fopen(name, "rb");
    if (!file) fail(name);
    request = malloc(1 << 20);
    request_bytes = fread(request, 1, 1 << 20, file);
    fclose(file);
}

static const struct timespec REST = {0, 100000};

int main(int count, char **arguments) {
    static struct epoll_event events[1024];
    if (count < 8) {
        fprintf(stderr, "usage: %s PORT CONNECTIONS RATE WARM SECONDS PATIENCE REQUEST [HEALTH_PORT]\n", arguments[0]);
        return 2;
    }
    port = atoi(arguments[1]);
    connections = atoi(arguments[2]);
    double rate = atof(arguments[3]), warm = atof(arguments[4]), seconds = atof(arguments[5]);
    patience = atof(arguments[6]);
    read_request(arguments[7]);
    prctl(PR_SET_TIMERSLACK, 1000);
    poller = epoll_create1(0);
    all = calloc(connections + PROBES, sizeof *all);
    free_mask = power(4 * connections) - 1;
    free_ring = calloc(free_mask + 1, sizeof *free_ring);
    sent_mask = power(1 << 22) - 1;
    sent_ring = calloc(sent_mask + 1, sizeof *sent_ring);
    if (!all || !free_ring || !sent_ring) fail("calloc");
    for (int i = 0; i < PROBES; i++) probes[i].port = count > 8 ? atoi(arguments[8]) : port;
    for (int i = 0; i < connections + PROBES; i++) all[i].probe = i < connections ? -1 : i - connections;
    window_start = window_end = 1e18; /* nothing counts yet */
    /* Connect in small groups, so that the server's backlog does not overflow. */
    for (int i = 0; i < connections; i++) {
        open_connection(i, port);
        if (i % 32 == 31 || i == connections - 1) {
            double until = now() + 5;
            while (free_tail - free_head <= (uint32_t)i && now() < until) {
                int found = epoll_wait(poller, events, 1024, 10);
                for (int e = 0; e < found; e++) handle(&events[e]);
            }
        }
    }
    if (free_tail - free_head < (uint32_t)connections) {
        fprintf(stderr, "only %u of %d connections were accepted\n", free_tail - free_head, connections);
        return 1;
    }
    double start = now(), moment = start, cpu_start = 0;
    double gap = rate > 0 ? 1 / rate : 0, due = start;
    long skipped = 0;
    struct rusage usage;
    window_start = start + warm;
    window_end = window_start + seconds;
    double give_up = window_end + (patience > 0 ? patience + 0.1 : 3.0);
    for (int i = 0; i < PROBES; i++) probes[i].due = start + 0.01 * (i + 1);
    while (moment < give_up) {
        int is_sending = moment < window_end;
        counting = moment >= window_start && is_sending;
        if (counting && cpu_start == 0) {
            getrusage(RUSAGE_SELF, &usage);
            cpu_start = usage.ru_utime.tv_sec + usage.ru_stime.tv_sec + (usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) * 1e-6;
        }
        if (is_sending) {
            uint32_t index;
            if (rate > 0 && moment - due > 0.1) { /* the generator itself can't keep up: say so, don't send a burst */
                long missed = (moment - due) / gap;
                if (counting) skipped += missed;
                due += missed * gap;
            }
            for (int burst = 0; burst < BURST && (rate <= 0 || due <= moment); burst++) {
                if (!pop_free(&index)) {
                    if (rate <= 0) break;
                    unsent += counting;
                } else {
                    send_request(index, request, request_bytes);
                    sent_count += counting;
                }
                due += gap;
            }
            start_probes(moment);
        }
        int found, wait = !is_sending || (rate <= 0 && free_head == free_tail) ? 1 : 0;
        int heard = 0;
        do { /* all responses that have arrived, before clients leave whose time was over before */
            found = epoll_wait(poller, events, 1024, wait);
            for (int e = 0; e < found; e++) handle(&events[e]);
            heard += found;
        } while (found == 1024);
        /* A generator that never rests slows the service down where two CPUs are one core. */
        if (rate > 0 && is_sending && !heard) nanosleep(&REST, NULL);
        if (patience > 0) leave(moment);
        moment = now();
    }
    getrusage(RUSAGE_SELF, &usage);
    double cpu = usage.ru_utime.tv_sec + usage.ru_stime.tv_sec + (usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) * 1e-6;
    qsort(answered.values, answered.count, sizeof(double), compare);
    qsort(refused.values, refused.count, sizeof(double), compare);
    printf("{\"seconds\": %g, \"sent\": %ld, \"unsent\": %ld, \"skipped\": %ld, \"answered\": %ld, \"good\": %ld, \"late\": %ld, "
           "\"refused\": %ld, \"left\": %ld, \"other\": %ld, \"broken\": %ld, \"connects\": %ld, \"connect_failures\": %ld, "
           "\"cpu\": %.3f, \"answered_ms\": [%.3f, %.3f, %.3f], \"refused_ms\": [%.3f, %.3f, %.3f], \"probes\": [",
           seconds, sent_count, unsent, skipped, answered.count, good, late, refused.count, left_count, other, broken, connects,
           connect_failures, cpu - cpu_start, quantile(&answered, 0.5), quantile(&answered, 0.99), quantile(&answered, 1),
           quantile(&refused, 0.5), quantile(&refused, 0.99), quantile(&refused, 1));
    for (int i = 0; i < PROBES; i++) {
        struct probe *probe = &probes[i];
        struct connection *c = &all[connections + i];
        int hangs = c->state == BUSY || c->state == CONNECTING;
        if (hangs && moment - c->since > probe->longest) probe->longest = moment - c->since;
        printf("%s{\"count\": %ld, \"failed\": %ld, \"mean_ms\": %.3f, \"longest_ms\": %.3f, \"hangs\": %d}", i ? ", " : "",
               probe->count, probe->failed, probe->count ? probe->sum / probe->count * 1000 : 0, probe->longest * 1000, hangs);
    }
    printf("]}\n");
    return 0;
}
