package lab;

import static java.nio.charset.StandardCharsets.UTF_8;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import org.hyperledger.fabric.shim.ChaincodeBase;
import org.hyperledger.fabric.shim.ChaincodeStub;

/** The functions of the tests' other chaincode, on Fabric's own shim for Java. */
public final class LabJava extends ChaincodeBase {

    public static void main(final String[] args) {
        System.out.println("labjava starting, args " + String.join(" ", args));
        new LabJava().start(args);
    }

    @Override
    public Response init(final ChaincodeStub stub) {
        return newSuccessResponse();
    }

    @Override
    public Response invoke(final ChaincodeStub stub) {
        try {
            return newSuccessResponse(call(stub, stub.getFunction(), stub.getParameters()));
        } catch (IOException | RuntimeException error) {
            return newErrorResponse(error.toString());
        }
    }

    private static byte[] call(final ChaincodeStub stub, final String function, final List<String> given)
            throws IOException {
        switch (function) {
            case "put":
                stub.putState(given.get(0), given.get(1).getBytes(UTF_8));
                return new byte[0];
            case "get":
                return stub.getState(given.get(0));
            case "env":
                return System.getenv().getOrDefault(given.get(0), "").getBytes(UTF_8);
            case "file":
                return Files.readAllBytes(Path.of(given.get(0)));
            case "exit":
                // Past the shim's shutdown hook, which waits for the stream to the peer.
                Runtime.getRuntime().halt(Integer.parseInt(given.get(0)));
                throw new IllegalStateException("still here");
            default:
                throw new IllegalArgumentException("there is no function \"" + function + "\"");
        }
    }
}
