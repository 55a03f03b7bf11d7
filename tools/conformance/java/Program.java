import java.util.ArrayList;
import java.util.List;

/** What the long-running programs of the harness share: each does its work in threads until its input ends. */
final class Program {
    private static volatile boolean isOver;

    private Program() { }

    /** Whether the input has ended: whoever works finishes. */
    static boolean isOver() {
        return isOver;
    }

    /** Starts every work in a thread of its own, and returns when the input has ended and all are done. */
    static void untilInputEnds(List<Runnable> works) throws Exception {
        List<Thread> threads = new ArrayList<>();
        for (Runnable work : works) {
            var thread = new Thread(work);
            thread.start();
            threads.add(thread);
        }
        while (System.in.read() >= 0) { }
        isOver = true;
        for (Thread thread : threads) {
            thread.join();
        }
    }
}
