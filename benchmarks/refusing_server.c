/* The least that an HTTP server can do to refuse requests: wait, receive, send fixed bytes. Compiled and run by
 * refusals.py.
 *
 * Whatever is received at once on a connection counts as one request, which is true of the clients of the benchmark only.
 * Nothing is parsed, counted or limited in time.
 *
 * Usage: refusing_server PORT RESPONSE
 *   RESPONSE is a file with the bytes of the response.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define EVENTS 1024

static void fail(const char *what) {
    perror(what);
    exit(1);
}

int main(int count, char **arguments) {
    static struct epoll_event events[EVENTS];
    static char received[1 << 18], response[1 << 16];
    struct sockaddr_in address = {.sin_family = AF_INET};
    int one = 1;
    if (count < 3) {
        fprintf(stderr, "usage: %s PORT RESPONSE\n", arguments[0]);
        return 2;
    }
    FILE *file = fopen(arguments[2], "rb");
    if (!file) fail(arguments[2]);
    size_t size = fread(response, 1, sizeof response, file);
    fclose(file);
    address.sin_port = htons(atoi(arguments[1]));
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), poller = epoll_create1(0);
    if (listener < 0 || poller < 0) fail("socket");
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(listener, (struct sockaddr *)&address, sizeof address) < 0 || listen(listener, 4096) < 0) fail("bind");
    struct epoll_event event = {.events = EPOLLIN, .data.fd = listener};
    if (epoll_ctl(poller, EPOLL_CTL_ADD, listener, &event) < 0) fail("epoll_ctl");
    for (;;) {
        int found = epoll_wait(poller, events, EVENTS, -1);
        for (int i = 0; i < found; i++) {
            int fd = events[i].data.fd;
            if (fd == listener) {
                while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK)) >= 0) {
                    event = (struct epoll_event){.events = EPOLLIN, .data.fd = fd};
                    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
                    if (epoll_ctl(poller, EPOLL_CTL_ADD, fd, &event) < 0) fail("epoll_ctl");
                }
            } else if (recv(fd, received, sizeof received, 0) <= 0 ||
                       send(fd, response, size, MSG_NOSIGNAL) != (ssize_t)size) {
                close(fd);
            }
        }
    }
}
