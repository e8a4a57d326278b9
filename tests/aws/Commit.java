import java.net.URI;
import java.nio.file.FileAlreadyExistsException;
import java.util.List;
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.fs.Path;
import shoplake.ConditionalLogStore;

/** Two drivers, which share nothing but S3, commit the same version of a table. */
public class Commit {
    public static void main(String[] arguments) throws Exception {
        Configuration configuration = new Configuration();
        for (String argument : arguments) {
            String[] pair = argument.split("=", 2);
            configuration.set(pair[0], pair[1]);
        }
        configuration.setBoolean("fs.s3a.impl.disable.cache", true);
        URI lake = new URI(configuration.get("lake"));
        Path version = new Path(lake.resolve("table/_delta_log/00000000000000000001.json"));
        ConditionalLogStore first = new ConditionalLogStore(configuration);
        ConditionalLogStore second = new ConditionalLogStore(configuration);
        first.write(version, List.of("first").iterator(), false, configuration);
        String told = "both were told that they did";
        try {
            second.write(version, List.of("second").iterator(), false, configuration);
        } catch (FileAlreadyExistsException error) {
            told = "the second was refused";
        }
        System.out.println(first.read(version, configuration).next() + " is there, " + told);
        second.write(version, List.of("third").iterator(), true, configuration);
        System.out.println(first.read(version, configuration).next() + " is there");
        System.exit(0);
    }
}
