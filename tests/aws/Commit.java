import java.net.URI;
import java.nio.charset.StandardCharsets;
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.fs.FSDataInputStream;
import org.apache.hadoop.fs.FSDataOutputStream;
import org.apache.hadoop.fs.FileSystem;
import org.apache.hadoop.fs.Path;

/** Two drivers commit the same version as Delta's log store does: a file that must not be there yet. */
public class Commit {
    public static void main(String[] arguments) throws Exception {
        Configuration configuration = new Configuration();
        for (String argument : arguments) {
            String[] pair = argument.split("=", 2);
            configuration.set(pair[0], pair[1]);
        }
        URI lake = new URI(configuration.get("lake"));
        FileSystem first = FileSystem.newInstance(lake, configuration);
        FileSystem second = FileSystem.newInstance(lake, configuration);
        Path version = new Path(lake.resolve("table/_delta_log/00000000000000000001.json"));
        FSDataOutputStream firstCommit = first.create(version, false);
        FSDataOutputStream secondCommit = second.create(version, false);
        firstCommit.write("first".getBytes(StandardCharsets.UTF_8));
        secondCommit.write("second".getBytes(StandardCharsets.UTF_8));
        firstCommit.close();
        String told = "both were told that they did";
        try {
            secondCommit.close();
        } catch (Exception error) {
            told = "the second was refused: " + error;
        }
        FSDataInputStream read = first.open(version);
        System.out.println(new String(read.readAllBytes(), StandardCharsets.UTF_8) + " is there, " + told);
        System.exit(0);
    }
}
