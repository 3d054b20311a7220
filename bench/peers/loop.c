/* The limit: HTTP as far as the benchmark needs it, and bodies spliced from the socket to a file. A thread a connection. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

enum { HEAD = 8192, PIPE = 1024 * 1024 };
static atomic_int uploads;

static int reply(int client, const char *text) {
    return write(client, text, strlen(text)) < 0 ? -1 : 0;
}

static long long number(const char *head, const char *name) {
    const char *found = strcasestr(head, name);
    return found ? atoll(found + strlen(name)) : 0;
}

/* Move `rest` bytes of a body to the file, of which `ready` have been received with the head. */
static int receive(int client, int pipes[2], int file, const char *buffer, size_t ready, long long rest, off64_t at) {
    if ((long long)ready > rest) ready = rest;
    if (ready && pwrite(file, buffer, ready, at) != (ssize_t)ready) return -1;
    at += ready;
    rest -= ready;
    while (rest > 0) {
        ssize_t got = splice(client, NULL, pipes[1], NULL, rest < PIPE ? rest : PIPE, SPLICE_F_MOVE);
        if (got <= 0) return -1;
        rest -= got;
        while (got > 0) {
            ssize_t put = splice(pipes[0], NULL, file, &at, got, SPLICE_F_MOVE);
            if (put <= 0) return -1;
            got -= put;
        }
    }
    return 0;
}

static int answer(int client, int pipes[2], char *head, const char *body, size_t ready) {
    char text[256], name[64] = "";
    long long size = number(head, "\r\ncontent-length:"), at = number(head, "\r\nupload-offset:");
    const char *query = strstr(head, "flowFilename=");
    if (query && query < strstr(head, "\r\n")) {
        sscanf(query, "flowFilename=%60[^& ]", name);
        at = (number(head, "flowChunkNumber=") - 1) * number(head, "flowChunkSize=");
    } else if (!strncmp(head, "POST ", 5)) {
        snprintf(name, sizeof name, "%d", atomic_fetch_add(&uploads, 1));
        int file = open(name, O_CREAT | O_WRONLY, 0666);
        if (file < 0 || close(file)) return -1;
        snprintf(text, sizeof text, "HTTP/1.1 201 Created\r\nLocation: /files/%s\r\nContent-Length: 0\r\n\r\n", name);
        return reply(client, text);
    } else {
        sscanf(head, "%*s /files/%60[0-9]", name);
    }
    if (!strncmp(head, "HEAD ", 5)) {
        struct stat status;
        if (stat(name, &status)) return -1;
        snprintf(text, sizeof text, "HTTP/1.1 200 OK\r\nUpload-Offset: %lld\r\nContent-Length: 0\r\n\r\n",
                 (long long)status.st_size);
        return reply(client, text);
    }
    int file = open(name, O_CREAT | O_WRONLY, 0666);
    if (file < 0) return -1;
    int failed = receive(client, pipes, file, body, ready, size, at);
    close(file);
    if (failed) return -1;
    snprintf(text, sizeof text, query ? "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
                                      : "HTTP/1.1 204 No Content\r\nUpload-Offset: %lld\r\n\r\n", at + size);
    return reply(client, text);
}

static void *serve(void *argument) {
    int client = (int)(long)argument, on = 1, pipes[2];
    char buffer[HEAD + 1];
    size_t have = 0;
    if (pipe(pipes)) return NULL;
    fcntl(pipes[1], F_SETPIPE_SZ, PIPE);
    setsockopt(client, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    for (;;) {
        char *end;
        buffer[have] = 0;
        while (!(end = memmem(buffer, have, "\r\n\r\n", 4))) {
            ssize_t got = have < HEAD ? recv(client, buffer + have, HEAD - have, 0) : 0;
            if (got <= 0) goto done;
            have += got;
        }
        size_t head = end + 4 - buffer;
        *end = 0; /* the head is text now; its last field ends here */
        if (answer(client, pipes, buffer, buffer + head, have - head)) goto done;
        have = 0; /* the client never sends the next request before the answer */
    }
done:
    close(pipes[0]);
    close(pipes[1]);
    close(client);
    return NULL;
}

int main(int count, char **arguments) {
    int server = socket(AF_INET, SOCK_STREAM, 0), on = 1;
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    if (count != 3 || chdir(arguments[2])) return 2;
    address.sin_port = htons(atoi(arguments[1]));
    setsockopt(server, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(server, (struct sockaddr *)&address, sizeof address) || listen(server, 128)) return 1;
    for (;;) {
        pthread_t thread;
        int client = accept(server, NULL, NULL);
        if (client < 0) continue;
        if (pthread_create(&thread, NULL, serve, (void *)(long)client)) close(client);
        else pthread_detach(thread);
    }
}
