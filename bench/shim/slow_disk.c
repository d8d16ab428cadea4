/* A disk that takes longer to flush: loaded into the server by LD_PRELOAD, it lets every fdatasync
 * last as many microseconds longer as the first four bytes of the file SLOW_DISK_FILE say. Group
 * commit, and whoever does not take part in it, behave as on such a disk. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

static const volatile uint32_t *microseconds;
static int (*real)(int);

__attribute__((constructor)) static void find(void)
{
    const char *path = getenv("SLOW_DISK_FILE");
    int file = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    real = (int (*)(int)) dlsym(RTLD_NEXT, "fdatasync");
    if (file < 0)
        return;
    void *page = mmap(NULL, sizeof(uint32_t), PROT_READ, MAP_SHARED, file, 0);
    close(file);
    if (page != MAP_FAILED)
        microseconds = page;
}

int fdatasync(int file)
{
    int result = real(file);
    uint32_t delay = microseconds ? *microseconds : 0;
    struct timespec rest = {delay / 1000000, delay % 1000000 * 1000L};
    while (delay && nanosleep(&rest, &rest) != 0)
        ;
    return result;
}
