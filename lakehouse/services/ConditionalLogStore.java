package shoplake;

import io.delta.storage.HadoopFileSystemLogStore;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.FileAlreadyExistsException;
import java.util.Iterator;
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.fs.FSDataOutputStream;
import org.apache.hadoop.fs.FileSystem;
import org.apache.hadoop.fs.Options.CreateFileOptionKeys;
import org.apache.hadoop.fs.Path;
import org.apache.hadoop.fs.s3a.RemoteFileChangedException;

/**
 * Commits of Delta tables by S3's conditional PUT: of several writers, with Spark or without, one makes a version.
 * Delta 4.4 has no such log store for S3.
 */
public final class ConditionalLogStore extends HadoopFileSystemLogStore {
    /** Called by Delta. */
    public ConditionalLogStore(Configuration configuration) {
        super(configuration);
    }

    @Override
    public void write(Path path, Iterator<String> actions, Boolean overwrite, Configuration configuration)
            throws IOException {
        StringBuilder text = new StringBuilder();
        while (actions.hasNext()) {
            text.append(actions.next()).append('\n');
        }
        FileSystem files = path.getFileSystem(configuration);
        try (FSDataOutputStream out = overwrite ? files.create(path, true) : ifAbsent(files, path)) {
            out.write(text.toString().getBytes(StandardCharsets.UTF_8));
        } catch (RemoteFileChangedException refused) {
            throw (IOException) new FileAlreadyExistsException(path.toString()).initCause(refused);
        }
    }

    /** An object that S3 makes when it is whole, and refuses when one of its name is there. */
    private static FSDataOutputStream ifAbsent(FileSystem files, Path path) throws IOException {
        return (FSDataOutputStream) files.createFile(path)
                .overwrite(true) // no look first: the PUT itself is the question
                .must(CreateFileOptionKeys.FS_OPTION_CREATE_CONDITIONAL_OVERWRITE, true)
                .build();
    }

    @Override
    public Boolean isPartialWriteVisible(Path path, Configuration configuration) {
        return false;
    }
}
