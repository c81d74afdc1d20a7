/* generations MIB: writes 1 into every page of its memory, in order, then 2, and so on.
 *
 * At any instant the pages of its beginning have one number more than those of its end; memory that was not
 * read at one instant has more than one such step.
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

static volatile uint64_t *memory;
static size_t size;

static void *writing(void *argument)
{
	(void)argument;
	for (uint64_t generation = 1;; generation++)
		for (size_t at = 0; at < size / 8; at += 512)
			memory[at] = generation;
	return NULL;
}

int main(int count, char **words)
{
	pthread_t thread;
	size = (size_t)(count > 1 ? atol(words[1]) : 64) << 20;
	memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	madvise((void *)memory, size, MADV_NOHUGEPAGE);
	for (size_t at = 0; at < size / 8; at += 512)
		memory[at] = 0;
	pthread_create(&thread, NULL, writing, NULL);
	printf("%p\n", (void *)memory);
	fflush(stdout);
	for (;;)
		pause();
}
