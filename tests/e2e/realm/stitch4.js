// mongodb-stitch-browser-sdk and mongodb-stitch-server-sdk 4.9.0: `kit.sdk` is the module. It keeps one client for each
// app ID; a restart forgets it, and finds what is stored.

kit.suite = ({ base, home, app: id, where }) => {
  const { check, email, equal, ok, operator, rejected, requests, seen, types, FORGED, PASSWORD } = kit;
  const S = kit.sdk;

  const LOCATION = "GET {a}/location -";
  const LOGIN = ["POST {a}/auth/providers/anon-user/login -", "GET /auth/profile A"];
  const EMAIL_LOGIN = ["POST {a}/auth/providers/local-userpass/login -", "GET /auth/profile A"];
  const LINK = "POST {a}/auth/providers/local-userpass/login?link=true A";
  const REFRESH = "POST /auth/session R";
  const LOG_OUT = "DELETE /auth/session R";

  let folder;
  const clients = [];

  function start(clientAppId = id) {
    clients.splice(0).forEach(({ auth }) => auth.close()); // no timer goes on
    S.Stitch.clearApps();
    const builder = new S.StitchAppClientConfiguration.Builder()
      .withBaseUrl(base)
      .withLocalAppName("shop")
      .withLocalAppVersion("1.2.3");
    if (where === "node") {
      builder.withDataDirectory(folder);
    }
    const client = S.Stitch.initializeAppClient(clientAppId, builder.build());
    clients.push(client);
    return client;
  }

  kit.reset = async () => {
    if (where === "node") {
      folder = kit.newFolder();
    } else {
      localStorage.clear();
    }
  };

  const anonymous = () => new S.AnonymousCredential();
  const byEmail = (address, password = PASSWORD) => new S.UserPasswordCredential(address, password);
  const provider = ({ auth }) => auth.getProviderClient(S.UserPasswordAuthProviderClient.factory);
  const register = (client, address, password = PASSWORD) => provider(client).registerWithEmail(address, password);
  const tokens = ({ auth }) => [auth.activeUserAuthInfo.accessToken, auth.activeUserAuthInfo.refreshToken];
  const told = (error) => [S.StitchServiceErrorCode[error.errorCode], error.message];

  async function guest() {
    const client = start();
    const user = await client.auth.loginWithCredential(anonymous());
    await requests();
    return [client, user];
  }

  async function linked() {
    const [client, user] = await guest();
    const address = email();
    await register(client, address);
    await user.linkWithCredential(byEmail(address));
    await requests();
    return [client, user, address];
  }

  check("1 2 4", "a guest logs in, after one question where to", async () => {
    const client = start();
    equal([client.auth.isLoggedIn, client.auth.user], [false, undefined]);
    const user = await client.auth.loginWithCredential(anonymous());

    ok(/^[0-9a-f]{24}$/.test(user.id), `the id is ${user.id}`);
    equal([client.auth.isLoggedIn, client.auth.user.id, user.isLoggedIn], [true, user.id, true]);
    equal(client.auth.listUsers().map((one) => one.id), [user.id]);
    const [location, login, ...others] = await requests();
    equal([location.port, location.path], ["front", `/api/client/v2.0/app/${id}/location`]);
    equal(JSON.parse(location.answer).hostname, home);
    equal([login.port, login.method, login.kind], ["home", "POST", "-"]);
    equal(others.map((one) => `${one.port} ${one.method} ${one.kind}`), ["home GET A"]);
    const device = JSON.parse(login.body).options.device;
    equal([device.appId, device.appVersion, device.deviceId], ["shop", "1.2.3", undefined]);
    equal((await operator("facts", user.id)).is_guest, true);
  });

  check("4", "the device comes back", async () => {
    const [client] = await guest();
    const { deviceId } = client.auth;
    ok(/^[0-9a-f]{24}$/.test(deviceId) && !/^0+$/.test(deviceId), `the device is ${deviceId}`);
    await client.auth.logout();
    await client.auth.loginWithCredential(anonymous());
    const login = (await requests()).find((one) => one.path.endsWith("/login"));
    equal(JSON.parse(login.body).options.device.deviceId, deviceId);
    equal(client.auth.deviceId, deviceId);
  });

  check("5", "the profile of a guest is empty", async () => {
    const [, user] = await guest();
    equal([user.userType, user.profile.name, user.profile.email], ["normal", undefined, undefined]);
    equal([user.loggedInProviderType, user.loggedInProviderName], ["anon-user", "anon-user"]);
    equal(types(user.identities), ["anon-user"]);
    equal(user.customData, {});
  });

  check("32", "a second anonymous login asks nobody", async () => {
    const [client, user] = await guest();
    const again = await client.auth.loginWithCredential(anonymous());
    equal(again.id, user.id);
    equal(await seen(), []);
  });

  check("7 33", "by an address somebody else logs in, and both are there", async () => {
    const [client, first] = await guest();
    const address = email();
    await register(client, address);
    await requests();
    const second = await client.auth.loginWithCredential(byEmail(address));
    equal(await seen(), EMAIL_LOGIN);
    ok(first.id !== second.id, "they are one user");
    equal([client.auth.user.id, types(second.identities)], [second.id, ["local-userpass"]]);
    equal(second.profile.email, address);
    equal(client.auth.listUsers().map((one) => [one.id, one.isLoggedIn]).sort(), [[first.id, true], [second.id, true]].sort());
  });

  check("8 9 10", "to and fro between two, and away with one", async () => {
    const [client, first] = await guest();
    const address = email();
    await register(client, address);
    const second = await client.auth.loginWithCredential(byEmail(address));
    client.auth.switchToUserWithId(first.id);
    equal(client.auth.user.id, first.id);
    await client.auth.refreshAccessToken();
    equal(kit.claims(tokens(client)[0]).sub, first.id);
    client.auth.switchToUserWithId(second.id);
    await requests();

    await client.auth.logout();
    equal(await seen(), [LOG_OUT]);
    equal(client.auth.listUsers().map((one) => [one.id, one.isLoggedIn]).sort(), [[first.id, true], [second.id, false]].sort());
    client.auth.switchToUserWithId(first.id);
    await client.auth.removeUserWithId(second.id);
    equal(await seen(), [], "what the removal of a user who has logged out asks");
    equal(client.auth.listUsers().map((one) => one.id), [first.id]);
    await client.auth.removeUser();
    equal(await seen(), [LOG_OUT]);
    equal(client.auth.listUsers(), []);
  });

  check("11 35", "who comes back is still there, and nobody is asked", async () => {
    const [client, user] = await guest();
    const before = [...tokens(client), client.auth.deviceId];
    const again = start();

    equal([again.auth.isLoggedIn, again.auth.user.id], [true, user.id]);
    equal([...tokens(again), again.auth.deviceId], before);
    equal(types(again.auth.user.identities), ["anon-user"]);
    equal(await seen(), []);
    await again.auth.refreshAccessToken();
    equal(await seen(), [LOCATION, REFRESH]);
    equal(again.auth.user.id, user.id);
  });

  check("14", "an access token that is refused is replaced", async () => {
    const [client, user] = await guest();
    client.auth.activeUserAuthInfo.accessToken = FORGED;
    const error = await rejected(client.callFunction("greet", [1]));
    equal(told(error), ["FunctionNotFound", "function not found: 'greet'"]);

    const [refused, refresh, again, ...others] = await requests();
    equal(others, []);
    equal([refused.bearer, refused.status, refused.type], [FORGED, 401, "application/json"]);
    equal(JSON.parse(refused.answer).error_code, "InvalidSession");
    const [accessToken, refreshToken] = tokens(client);
    equal([refresh.bearer, refresh.status, Object.keys(JSON.parse(refresh.answer))], [refreshToken, 201, ["access_token"]]);
    equal([again.path, again.bearer, again.status], [refused.path, accessToken, 404]);
    equal([client.auth.isLoggedIn, client.auth.user.id], [true, user.id]);
  });

  check("15 39", "a guest whose sessions were ended is told so, once", async () => {
    const [client, user] = await guest();
    await operator("revoke", user.id);
    const error = await rejected(client.callFunction("greet", []));
    equal(told(error)[0], "InvalidSession");
    // The token is as new as the request: the SDK sends it again instead of refreshing, in vain (realm.md §2.3).
    const lines = await seen();
    const again = ["POST {a}/functions/call A", "POST {a}/functions/call A"];
    const refreshing = ["POST {a}/functions/call A", REFRESH];
    ok([again, refreshing].some((one) => String(one) === String(lines)), `it asks ${lines}`);
    equal([client.auth.isLoggedIn, client.auth.user], [false, undefined]);

    const next = await client.auth.loginWithCredential(anonymous());
    ok(next.id !== user.id, "the guest has come back");
  });

  check("39", "so is who refreshes", async () => {
    const [client, user] = await guest();
    await operator("revoke", user.id);
    const [code, message] = told(await rejected(client.auth.refreshAccessToken()));
    equal(code, "InvalidSession");
    ok(message.includes("failed to find refresh token"), message);
    equal(await seen(), [REFRESH]);
    equal(client.auth.isLoggedIn, false);
  });

  check("16 34", "a guest who logs out is gone from the device", async () => {
    const [client, user] = await guest();
    const [, refreshToken] = tokens(client);
    await client.auth.logout();
    const [request, ...others] = await requests();
    equal([others.length, request.method, request.bearer === refreshToken, request.status], [0, "DELETE", true, 204]);
    equal([request.type, request.answer], [null, ""]);
    equal([client.auth.isLoggedIn, client.auth.listUsers()], [false, []]);

    const next = await client.auth.loginWithCredential(anonymous());
    ok(next.id !== user.id, "the guest has come back");
  });

  check("17", "who logs out after the session has ended forgets it all the same", async () => {
    const [client, user] = await guest();
    await operator("revoke", user.id);
    await client.auth.logout();
    equal(await seen(), [LOG_OUT]);
    equal([client.auth.isLoggedIn, client.auth.listUsers()], [false, []]);
  });

  check("18", "the same address logs in twice", async () => {
    const client = start();
    const address = email();
    await register(client, address);
    const first = await client.auth.loginWithCredential(byEmail(address));
    const second = await client.auth.loginWithCredential(byEmail(address));
    equal(second.id, first.id);
    equal(client.auth.listUsers().map((one) => one.id), [first.id]);
  });

  check("19 21 34 36", "a guest keeps the account by an address, and comes back with it", async () => {
    const [client, user] = await guest();
    const address = email();
    const [accessToken, refreshToken] = tokens(client);
    await register(client, address);
    await requests();
    const same = await user.linkWithCredential(byEmail(address));

    const [link, profile, ...others] = await requests();
    equal(others, []);
    equal([link.query, link.bearer, link.status], ["link=true", accessToken, 200]);
    equal([profile.path, profile.bearer], ["/api/client/v2.0/auth/profile", tokens(client)[0]]);
    equal([same.id, client.auth.user.id], [user.id, user.id]);
    equal([types(same.identities), same.profile.email], [["anon-user", "local-userpass"], address]);
    equal(client.auth.user.loggedInProviderType, "local-userpass");
    ok(tokens(client)[0] !== accessToken, "the access token is the old one");
    equal(tokens(client)[1], refreshToken);
    equal((await operator("facts", user.id)).is_guest, false);
    await client.auth.refreshAccessToken();

    await client.auth.logout();
    equal(client.auth.listUsers().map((one) => [one.id, one.isLoggedIn]), [[user.id, false]]);
    const again = await client.auth.loginWithCredential(byEmail(address));
    equal([again.id, types(again.identities)], [user.id, ["anon-user", "local-userpass"]]);
  });

  check("22", "an address of somebody else", async () => {
    const address = email();
    const other = start();
    await register(other, address);
    await other.auth.loginWithCredential(byEmail(address));
    await kit.reset();
    const [client, user] = await guest();
    const error = await rejected(user.linkWithCredential(byEmail(address)));

    equal(told(error), ["Unknown", "a user already exists with the specified provider"]);
    equal(await seen(), [LINK]);
    equal([client.auth.isLoggedIn, client.auth.user.id], [true, user.id]);
    equal([types(client.auth.user.identities), (await operator("facts", user.id)).is_guest], [["anon-user"], true]);
    await client.auth.refreshAccessToken();
  });

  check("22", "a wrong password, an address that nobody registered", async () => {
    const [client, user] = await guest();
    const address = email();
    await register(client, address);
    await requests();
    for (const credential of [byEmail(address, "wrong horse 1"), byEmail(email())]) {
      equal(told(await rejected(user.linkWithCredential(credential))), ["Unknown", "invalid username/password"]);
      equal(await seen(), [LINK]);
    }
    const error = await rejected(client.auth.loginWithCredential(byEmail(address, "wrong horse 1")));
    equal(told(error), ["Unknown", "invalid username/password"]);
    equal([client.auth.isLoggedIn, client.auth.user.id], [true, user.id]);
    await client.auth.refreshAccessToken();
  });

  check("23 24", "a second address is refused, the same one again does nothing", async () => {
    const [client, user, address] = await linked();
    const second = email();
    await register(client, second);
    await requests();
    const error = await rejected(client.auth.user.linkWithCredential(byEmail(second)));
    equal(told(error)[1], "linking a local-userpass identity is not allowed when one is already linked");
    equal(await seen(), [LINK]);

    const same = await client.auth.user.linkWithCredential(byEmail(address));
    equal(await seen(), [LINK, "GET /auth/profile A"]);
    equal([same.id, types(same.identities)], [user.id, ["anon-user", "local-userpass"]]);
  });

  check("25 26", "what cannot be registered", async () => {
    const [client] = await guest();
    const address = email();
    await register(client, address);
    equal(told(await rejected(register(client, address))), ["Unknown", "name already in use"]);
    for (const length of [5, 129]) {
      const [, message] = told(await rejected(register(client, email(), "x".repeat(length))));
      equal(message, "password must be between 6 and 128 characters");
    }
    equal((await seen()).length, 4);
    equal(client.auth.isLoggedIn, true);
  });

  check("27 28 29", "an address is confirmed by mail", async () => {
    await operator("auto_confirm", false);
    try {
      const [client, user] = await guest();
      const address = email();
      await register(client, address);
      equal(told(await rejected(client.auth.loginWithCredential(byEmail(address))))[1], "confirmation required");
      equal(told(await rejected(user.linkWithCredential(byEmail(address))))[1], "confirmation required");
      equal(told(await rejected(provider(client).confirmUser("junk", "junk")))[1], "invalid token data");
      const unknown = email();
      await provider(client).resendConfirmationEmail(unknown); // who has an address is nobody's business
      equal(await operator("is_mailed", unknown), false);
      const { token, tokenId } = await operator("mailed", address);
      await provider(client).confirmUser(token, tokenId);
      const again = await rejected(provider(client).resendConfirmationEmail(address));
      equal(told(again), ["UserAlreadyConfirmed", "already confirmed"]);
      const same = await user.linkWithCredential(byEmail(address));
      equal(types(same.identities), ["anon-user", "local-userpass"]);
    } finally {
      await operator("auto_confirm", true);
    }
  });

  check("28", "a password is reset by mail", async () => {
    const [client, user, address] = await linked();
    const junk = await rejected(provider(client).resetPassword("junk", "junk", "another horse 2"));
    equal(told(junk)[1], "invalid token data");
    await provider(client).sendResetPasswordEmail(address);
    const { token, tokenId } = await operator("mailed", address);
    await provider(client).resetPassword(token, tokenId, "another horse 2");
    await kit.reset();
    const again = await start().auth.loginWithCredential(byEmail(address, "another horse 2"));
    equal(again.id, user.id);
  });

  check("40", "a guest who was disabled for a while is the same one", async () => {
    const [client, user] = await guest();
    const before = tokens(client);
    await operator("disable", user.id);
    equal(told(await rejected(client.callFunction("greet", [])))[0], "UserDisabled");
    equal(told(await rejected(client.auth.refreshAccessToken()))[0], "UserDisabled");
    equal(await seen(), ["POST {a}/functions/call A", REFRESH]);
    equal([client.auth.isLoggedIn, tokens(client)], [true, before]);

    await operator("enable", user.id);
    await client.auth.refreshAccessToken();
    equal([client.auth.isLoggedIn, client.auth.user.id], [true, user.id]);
  });

  check("", "a guest of the other SDK comes in as the same person", async () => {
    const { access_token: token } = await kit.guestOfAuthgear();
    const client = start();
    const user = await client.auth.loginWithCredential(new S.CustomCredential(token));
    equal(await seen(), [LOCATION, "POST {a}/auth/providers/custom-token/login -", "GET /auth/profile A"]);
    equal(types(user.identities), ["anon-user"]);
    equal(await operator("facts", user.id), { sub: kit.claims(token).sub, is_guest: true });

    const junk = await rejected(client.auth.loginWithCredential(new S.CustomCredential(FORGED)));
    equal(told(junk), ["AuthProviderNotFound", "authentication provider not found"]);
  });

  check("1", "an app that there is none of", async () => {
    const error = await rejected(start("no-such-app-zzzzz").auth.loginWithCredential(anonymous()));
    equal(told(error), ["Unknown", "cannot find app using Client App ID 'no-such-app-zzzzz'"]);
  });
};
