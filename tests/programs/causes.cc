// Ends whose cause lies behind the last call: causes KIND.
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <sys/resource.h>
#include <thread>
#include <vector>

#define KEEP __attribute__((noinline))

struct Field {
    char *text;
    char inside[16];
};
static Field field;
static char *first, *second, *third;
static volatile int always = 1;

KEEP static void free_variable() { free(field.text); }
KEEP static void overrun(const char *text) { strcpy(first, text); }
KEEP static void clean_up()
{
    free(third);
    free(second);
}
KEEP static void free_again(char *block) { free(block); }
KEEP static void read_past(std::vector<int> &values) { always = values[values.size() + 3]; }
KEEP static void write_null(volatile int *where) { *where = 1; }
// Less than malloc is then asked for is left, but enough for a thread of a library.
KEEP static void limit_memory()
{
    const struct rlimit limit = {192 << 20, RLIM_INFINITY};
    setrlimit(RLIMIT_AS, &limit);
    for (int count = 0; count < 176 && malloc(1 << 20); count++) continue;
}
static void give_up(int) { abort(); }
static void raise_again(int number)
{
    signal(number, SIG_DFL);
    raise(number);
}

int main(int, char **arguments)
{
    const char *kind = arguments[1];
    if (!strcmp(kind, "free-variable")) {
        field.text = field.inside;
        free_variable();
    } else if (!strcmp(kind, "free-inside")) {
        first = (char *)malloc(100);
        free_again(first + 8);
    } else if (!strcmp(kind, "free-aligned")) {
        first = (char *)calloc(1, 2000);
        free_again(first + 64);
    } else if (!strcmp(kind, "free-overwritten")) {
        first = (char *)malloc(2000);
        memset(first - 8, 0xff, 8);
        first[-8] = (char)0xf1; // not "mapped by itself"
        free_again(first);
    } else if (!strcmp(kind, "free-sized")) {
        first = (char *)calloc(1, 2000);
        first[56] = 17;
        free_again(first + 64);
    } else if (!strcmp(kind, "top-overwritten")) {
        first = (char *)malloc(60008); // of the top: no free block is as large
        memset(first + 60008, 0xff, 8);
        second = (char *)malloc(100000);
        always = second != nullptr;
    } else if (!strcmp(kind, "overrun-earlier")) {
        char text[1500];
        memset(text, 'A', 1450);
        text[1450] = 0;
        first = (char *)malloc(1400);
        second = (char *)malloc(1400);
        third = (char *)malloc(1400);
        overrun(text);
        clean_up();
    } else if (!strcmp(kind, "free-twice")) {
        first = (char *)malloc(100);
        free(first);
        free_again(first);
    } else if (!strcmp(kind, "free-twice-large")) {
        first = (char *)malloc(3000);
        second = (char *)malloc(3000);
        free(first);
        free_again(first);
    } else if (!strcmp(kind, "thread-destroyed")) {
        std::thread thread([] {});
    } else if (!strcmp(kind, "thread-assigned")) {
        std::thread thread([] {});
        thread = std::thread();
    } else if (!strcmp(kind, "terminate")) {
        std::terminate();
    } else if (!strcmp(kind, "library-assertion")) {
        std::vector<int> values(4);
        read_past(values);
    } else if (!strcmp(kind, "limited-malloc")) {
        limit_memory();
        write_null((volatile int *)malloc(64 << 20));
    } else if (!strcmp(kind, "limited-new")) {
        limit_memory();
        field.text = new char[64 << 20];
    } else if (!strcmp(kind, "handler-aborts")) {
        signal(SIGSEGV, give_up);
        write_null(always ? nullptr : &always);
    } else if (!strcmp(kind, "handler-raises")) {
        signal(SIGSEGV, raise_again);
        write_null(always ? nullptr : &always);
    }
#ifdef __x86_64__
    else if (!strcmp(kind, "missing-instruction")) {
        __asm__ volatile(".byte 0xc4,0xe3,0xf1,0x69,0xc2,0x30"); // vfmaddpd of FMA4, which is gone
    }
#endif
    return 0;
}
