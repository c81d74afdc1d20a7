/* Functions whose frames a PDB describes: compiled for Windows, run by load_pe. */
#define NOINLINE __attribute__((noinline))

NOINLINE void crash(volatile int *p, int depth)
{
    if (depth) {
        crash(p, depth - 1);
        p[1] = 2;
    } else {
        *p = 1;
    }
}

NOINLINE int __stdcall with_arguments(int a, int b, int c)
{
    volatile int values[4];
    values[a & 3] = b + c;
    crash(0, 3);
    return values[0];
}

int entry(void)
{
    return with_arguments(1, 2, 3) + with_arguments(4, 5, 6);
}
